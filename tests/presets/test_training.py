"""Every training preset: its values, their sources, and overrides."""

import re
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml

from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.models.mask_methods import METHODS
from maskdcpt_cli.presets.load import load, load_data, names
from maskdcpt_cli.presets.show import OVERRIDDEN, annotated
from maskdcpt_cli.presets.training import (
    SCHEMAS,
    Finetune,
    Mask,
    Pretrain,
    Run,
    load_preset,
)
from maskdcpt_cli.training.optimizer import freeze
from maskdcpt_cli.training.task import init_backbone

EARLIER = Path(__file__).parents[1] / "reference"
ALL = [(kind, name) for kind in SCHEMAS for name in names(kind)]
ABLATIONS = [  # Tables VII, VIII and IX
    *(f"mask.ratio={ratio}" for ratio in (0, 0.25, 0.5, 0.75)),
    *(f"mask.patch_size={size}" for size in (1, 4, 16, 32)),
    *(f"mask.method={method}" for method in ("random", "square", "block-wise")),
]


def loaded(kind: str, name: str, *overrides: str) -> Run:
    return load(name, SCHEMAS[kind], kind=kind, overrides=overrides)


def test_there_are_the_presets_of_the_paper():
    ours = ["classifier", "classifier-multi-label", "embedded", "evidence", "tiny"]
    assert names("pretrain") == sorted(["12d", "5d", "9d", "dcpt", "ram", *ours])
    tasks = ["12d", "5d", "9d", "derain", "mixed", "motion-deblur", "tiny"]
    tasks += ["asked", "asked-blocks", "embedded", "evidence", "ram"]
    assert names("finetune") == sorted(tasks)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_preset_fits_every_backbone(kind, name, backbone):
    preset = loaded(kind, name, f"backbone={backbone}")
    with torch.device("meta"):
        network = init_backbone(preset, SETTINGS[load_data(preset.data).setting])
    sizes = [stage.crop_size for stage in preset.training.stages] + [preset.validation.crop_size]
    assert not any(size % network.size_multiple for size in sizes)


DEPTHS = {"enc_blk_nums": [1, 3, 4], "middle_blk_num": 2, "dec_blk_nums": [1, 2, 1]}


@pytest.mark.parametrize(("name", "other"), [("asked-blocks", {}), ("asked", DEPTHS)])
def test_the_network_that_can_be_asked_is_the_blind_one_with_requests(name, other):
    asked, blind = loaded("finetune", name), loaded("finetune", "embedded")
    assert asked.options == {**blind.options, "architecture": "instruct", **other}
    assert load_data(asked.data).requests
    assert load_data(asked.data).setting == load_data(blind.data).setting


def test_instruction_blocks_alone_are_trained_first():
    first = loaded("finetune", "asked-blocks")
    with torch.device("meta"):
        network = init_backbone(first, SETTINGS[load_data(first.data).setting])
    freeze(network, first.optimizer.freeze)
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == ("request_embedding" in name or "instructed" in name), (
            name
        )


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_preset_names_data_that_there_are(kind, name):
    assert load_data(loaded(kind, name).data).train


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_value_is_printed_with_its_place_and_read_again(kind, name, tmp_path):
    preset = loaded(kind, name)
    text = annotated(preset, name=name, kind=kind)
    for line in text.splitlines():
        assert line.endswith(":") or "#" in line, line
    assert OVERRIDDEN not in text
    path = tmp_path / "again.yaml"
    path.write_text(text, encoding="utf-8")
    assert loaded(kind, str(path)) == preset
    assert yaml.safe_load(text) == preset.model_dump(mode="json")


def test_a_place_is_not_the_presets_where_the_value_is_not():
    preset = loaded("finetune", "derain", "optimizer.clip=0.5", "backbone=nafnet")
    lines = annotated(preset, name="derain", kind="finetune").splitlines()
    marked = {line.split(":")[0].strip() for line in lines if OVERRIDDEN in line}
    assert marked == {"clip", "backbone"}
    assert any(line.startswith("  weight_decay: 0.0001 ") and "Restormer" in line for line in lines)


@pytest.mark.parametrize("override", ABLATIONS)
def test_every_ablation_is_an_override(override):
    assert isinstance(loaded("pretrain", "5d", override), Pretrain)


def test_presets_have_the_iterations_batch_rates_and_ema_of_the_paper():
    pretraining, mixed = loaded("pretrain", "5d"), loaded("finetune", "mixed")
    assert pretraining.training.iterations == 100_000
    assert (pretraining.training.stages[0].batch, pretraining.training.stages[0].crop_size) == (
        16, 256,
    )  # fmt: skip
    assert pretraining.optimizer.lr.initial == 3e-4
    assert pretraining.optimizer.decoder_lr
    assert pretraining.optimizer.decoder_lr.initial == 1e-4
    assert mixed.training.iterations == 750_000
    assert mixed.training.ema == 0.999
    assert loaded("finetune", "derain").training.iterations == 300_000


@pytest.mark.parametrize(
    ("iterations", "lengths", "after"),
    [
        (300_000, [92_000, 64_000, 48_000, 36_000, 36_000, 24_000], 92_000),
        (3_000, [920, 640, 480, 360, 360, 240], 920),
        (7, [2, 2, 1, 1, 1], 2),
        (1, [1], 0),
    ],
)
def test_a_number_of_iterations_stretches_all_stages(iterations, lengths, after):
    preset = loaded("finetune", "derain", f"training.iterations={iterations}")
    assert preset.training.iterations == iterations
    assert [stage.iterations for stage in preset.training.stages] == lengths
    assert preset.optimizer.lr.after == after


LENGTH, WARM_UP = "training.iterations=20000", "optimizer.lr.warm_up=2000"


@pytest.mark.parametrize("overrides", [(LENGTH, WARM_UP), (WARM_UP, LENGTH)])
def test_what_is_set_beside_the_number_of_iterations_is_not_scaled(overrides):
    preset = load_preset("finetune", "5d", overrides=overrides)
    assert preset.training.iterations == 20_000
    assert preset.optimizer.lr.warm_up == 2000
    scaled = load_preset("finetune", "5d", overrides=[LENGTH])
    assert preset.optimizer.lr.after == scaled.optimizer.lr.after
    assert preset.training.stages == scaled.training.stages


@pytest.mark.parametrize("begins", [[], ["training.iterations=9000"]])
def test_what_is_set_after_a_whole_stage_holds(begins):
    stage = "{iterations: 9000, crop_size: 128, batch: 8}"
    for number in (0, 1):
        whole = f"training.stages.{number}={stage}"
        batch = f"training.stages.{number}.batch=4"
        preset = load_preset("finetune", "tiny", overrides=[*begins, whole, batch])
        assert preset.training.stages[number].batch == 4


def test_stages_in_place_of_all_stages_hold():
    one = "training.stages.0={iterations: 9000, crop_size: 128, batch: 8}"
    every = "training.stages=[{iterations: 10, crop_size: 32, batch: 2}]"
    preset = load_preset("finetune", "tiny", overrides=[one, "training.stages.0.batch=4", every])
    assert [(stage.iterations, stage.batch) for stage in preset.training.stages] == [(10, 2)]


def test_a_number_of_iterations_is_whole():
    run = load_preset("finetune", "tiny", overrides=["training.iterations=1e3"])
    assert run.training.iterations == 1000
    with pytest.raises(MaskDCPTError, match=r"training.iterations is 1000.5; valid are whole"):
        load_preset("finetune", "tiny", overrides=["training.iterations=1000.5"])


def test_numbers_with_an_exponent_are_numbers():
    sizes = "sizes.nafnet={padding: zeros, norm_eps: 1e-6}"
    preset = load_preset("finetune", "tiny", overrides=[sizes])
    assert preset.sizes["nafnet"]["norm_eps"] == 1e-6
    assert load_preset("finetune", "tiny", overrides=["initialise_from=1e6x"]).initialise_from


def test_values_of_a_stage_are_set_before_the_stages_are_scaled():
    few, batch = "training.iterations=4", "training.stages.5.batch=7"
    preset = load_preset("finetune", "derain", overrides=[few, batch])
    assert preset.training.iterations == 4
    assert 7 not in [stage.batch for stage in preset.training.stages], "that stage is left out"
    half = [
        "training.iterations=1000",
        "training.stages=[{iterations: 500, crop_size: 64, batch: 8}]",
    ]
    preset = load_preset("finetune", "derain", overrides=[*half, "optimizer.lr.after=100"])
    assert (preset.training.iterations, preset.optimizer.lr.after) == (1000, 100)


def test_a_run_of_fewer_iterations_is_extended_by_a_stage():
    shorter = "training.iterations=500"
    stage = "training.stages.1={iterations: 9000, crop_size: 64, batch: 8, lr: {initial: 1e-4}}"
    run = load_preset("finetune", "tiny", overrides=[shorter])
    extended = load_preset("finetune", "tiny", overrides=[shorter, stage])
    assert len(run.training.stages) == 1
    assert extended.training.stages[:1] == run.training.stages
    assert extended.training.iterations == 9500


def test_a_stage_may_bring_a_rate_which_holds_until_another_does():
    stage = "{iterations: 10, crop_size: 32, batch: 2}"
    brings = "{iterations: 10, crop_size: 32, batch: 2, lr: {initial: 1e-4, final: 1e-6, after: 5}}"
    preset = loaded("finetune", "5d", f"training.stages=[{stage}, {brings}, {stage}, {brings}]")
    assert [(begin, end) for begin, end, _ in preset.lr_segments] == [(0, 10), (10, 30), (30, 40)]
    assert preset.lr_segments[0].schedule == preset.optimizer.lr
    halved = preset.with_iterations(20)
    assert [(begin, end) for begin, end, _ in halved.lr_segments] == [(0, 5), (5, 15), (15, 20)]
    assert halved.lr_segments[1].schedule.after == 2
    (only,) = preset.with_iterations(1).lr_segments
    assert only.schedule.initial == 1e-4, "the schedule of the stage that is left"
    assert preset.training.stages[1].lr
    late = f"training.stages=[{brings.replace('after: 5', 'after: 10')}]"
    with pytest.raises(MaskDCPTError, match=r"of training.stages.0.lr begins after 10"):
        loaded("finetune", "5d", late)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.iteration=3", "training.iteration: unknown key"),
        ("mask.patch_sise=3", "mask.patch_sise: unknown key; did you mean 'patch_size'?"),
        ("mask.ratio=1", "mask.ratio: "),
        ("mask.method=squares", "mask.method: "),
        ("mask.patch_size=24", "mask.patch_size is 24, which does not divide the crop_size 256"),
        ("heads={reconstruction: 0, classification: 0}", "nothing is learnt"),
        ("heads={random_labels: true, multi_label: true}", "for a classifier of one label"),
        ("training.iterations=0", "training.iterations is 0; valid are whole numbers from 1"),
        ("training.iterations=many", "training.iterations is 'many'"),
        (
            "optimizer.lr={initial: 1e-3, final: 1e-6, after: 100000}",
            "the cosine of optimizer.lr begins after 100000 iterations, but the schedule holds",
        ),
        (
            "optimizer.decoder_lr={initial: 1e-3, final: 1e-6, after: 100000}",
            "the cosine of optimizer.decoder_lr begins after 100000 iterations",
        ),
        ("optimizer.lr=0.1", "optimizer.lr: "),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(override, message):
    with pytest.raises(MaskDCPTError) as error:
        loaded("pretrain", "5d", override)
    assert message in str(error.value)
    assert "5d.yaml: " in str(error.value)


def test_a_preset_of_nothing_is_refused(tmp_path):
    path = tmp_path / "none.yaml"
    path.write_text("training: 3\n", encoding="utf-8")
    with pytest.raises(MaskDCPTError, match="data: field required"):
        load(str(path), Finetune, kind="finetune")


@pytest.mark.parametrize(("kind", "name"), [("pretrain", "tiny"), ("finetune", "embedded")])
def test_a_file_with_the_earlier_names_of_keys_is_the_same_preset(kind, name):
    path = str(EARLIER / f"earlier_{kind}.yaml")
    assert "optimiser:" in Path(path).read_text(encoding="utf-8")
    preset = loaded(kind, path)
    assert preset == loaded(kind, name)
    lines = annotated(preset, name=path, kind=kind).splitlines()
    assert any(re.search(r"^    initial: 0.00\d+ ", line) for line in lines)
    assert any(line.startswith("  clip: ") and "# ours" in line for line in lines)
    assert not any(OVERRIDDEN in line for line in lines)


def test_overrides_may_have_the_earlier_names_of_keys():
    stage = "{iterations: 10, crop_size: 32, batch: 2, %s: {initial: 1e-4}}"
    earlier, present = (
        loaded(
            "finetune", "5d", f"{optimizer}.{lr}.initial=1e-5", f"{optimizer}.clip=1",
            f"training.stages=[{stage % lr}]", f"training.stages.0.{lr}.final=1e-6",
        )
        for optimizer, lr in (("optimiser", "rate"), ("optimizer", "lr"))
    )  # fmt: skip
    assert earlier == present
    assert present.optimizer.lr.initial == 1e-5
    assert present.training.stages[0].lr.final == 1e-6


def test_a_key_is_refused_under_both_of_its_names(tmp_path):
    path = tmp_path / "both.yaml"
    path.write_text("data: 5d\noptimiser: {rate: {initial: 1}}\noptimizer: {}\n", encoding="utf-8")
    with pytest.raises(MaskDCPTError, match="'optimiser' is the earlier name of 'optimizer'"):
        loaded("finetune", str(path))


def test_the_schema_knows_every_mask_method():
    assert get_args(Mask.model_fields["method"].annotation) == tuple(METHODS)
