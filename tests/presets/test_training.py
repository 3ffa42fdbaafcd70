"""Every preset of training, its values and where they come from, and what replaces them."""

import pytest
import torch
import yaml

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import BACKBONES, build_backbone
from maskdcpt_cli.presets.load import load, load_data, names
from maskdcpt_cli.presets.show import OVERRIDDEN, annotated
from maskdcpt_cli.presets.training import SCHEMAS, Finetune, Pretrain, Run

ALL = [(kind, name) for kind in SCHEMAS for name in names(kind)]
ABLATIONS = [  # Tables VII, VIII and IX
    *(f"mask.ratio={ratio}" for ratio in (0, 0.25, 0.5, 0.75)),
    *(f"mask.patch_size={size}" for size in (1, 4, 16, 32)),
    *(f"mask.method={method}" for method in ("random", "square", "block-wise")),
]


def loaded(kind: str, name: str, *overrides: str) -> Run:
    return load(name, SCHEMAS[kind], kind=kind, overrides=overrides)


def test_there_are_the_presets_of_the_paper():
    assert names("pretrain") == ["12d", "5d", "classifier", "dcpt", "embedded", "ram", "tiny"]
    tasks = ["12d", "5d", "derain", "mixed", "motion-deblur", "tiny"]
    assert names("finetune") == sorted([*tasks, "embedded"])


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_preset_fits_every_backbone(kind, name, backbone):
    preset = loaded(kind, name, f"backbone={backbone}")
    with torch.device("meta"):
        network = build_backbone(preset.backbone, **preset.options)
    sizes = [stage.crop_size for stage in preset.training.stages] + [preset.validation.crop_size]
    assert not any(size % network.size_multiple for size in sizes)


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
    preset = loaded("finetune", "derain", "optimiser.clip=0.5", "backbone=nafnet")
    lines = annotated(preset, name="derain", kind="finetune").splitlines()
    marked = {line.split(":")[0].strip() for line in lines if OVERRIDDEN in line}
    assert marked == {"clip", "backbone"}
    assert any(line.startswith("  weight_decay: 0.0001 ") and "Restormer" in line for line in lines)


@pytest.mark.parametrize("override", ABLATIONS)
def test_every_ablation_is_an_override(override):
    assert isinstance(loaded("pretrain", "5d", override), Pretrain)


def test_the_numbers_of_the_paper():
    pretraining, mixed = loaded("pretrain", "5d"), loaded("finetune", "mixed")
    assert pretraining.training.iterations == 100_000
    assert (pretraining.training.stages[0].batch, pretraining.training.stages[0].crop_size) == (
        16, 256,
    )  # fmt: skip
    assert pretraining.optimiser.rate.initial == 3e-4
    assert pretraining.optimiser.decoder_rate
    assert pretraining.optimiser.decoder_rate.initial == 1e-4
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
    assert preset.optimiser.rate.after == after


def test_a_stage_may_bring_a_rate_which_holds_until_another_does():
    stage = "{iterations: 10, crop_size: 32, batch: 2}"
    brings = (
        "{iterations: 10, crop_size: 32, batch: 2, rate: {initial: 1e-4, final: 1e-6, after: 5}}"
    )
    preset = loaded("finetune", "5d", f"training.stages=[{stage}, {brings}, {stage}, {brings}]")
    assert [(begin, end) for begin, end, _ in preset.phases] == [(0, 10), (10, 30), (30, 40)]
    assert preset.phases[0].rate == preset.optimiser.rate
    halved = preset.lasting(20)
    assert [(begin, end) for begin, end, _ in halved.phases] == [(0, 5), (5, 15), (15, 20)]
    assert halved.phases[1].rate.after == 2
    (only,) = preset.lasting(1).phases
    assert only.rate.initial == 1e-4, "the rate of the stage that is left"
    assert preset.training.stages[1].rate
    late = f"training.stages=[{brings.replace('after: 5', 'after: 10')}]"
    with pytest.raises(MaskDCPTError, match=r"of training.stages.0.rate begins after 10"):
        loaded("finetune", "5d", late)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("training.iteration=3", "training.iteration: unknown key"),
        ("mask.patch_sise=3", "mask.patch_sise: unknown key; did you mean 'patch_size'?"),
        ("mask.ratio=1", "mask.ratio: "),
        ("mask.method=squares", "mask.method: "),
        ("mask.patch_size=24", "mask.patch_size is 24, which does not divide the crop_size 256"),
        ("heads={reconstruction: 0, classification: 0}", "nothing is learnt"),
        ("training.iterations=0", "training.iterations is 0; valid are whole numbers from 1"),
        ("training.iterations=many", "training.iterations is 'many'"),
        (
            "optimiser.rate={initial: 1e-3, final: 1e-6, after: 100000}",
            "the cosine of optimiser.rate begins after 100000 iterations, but the rate holds",
        ),
        (
            "optimiser.decoder_rate={initial: 1e-3, final: 1e-6, after: 100000}",
            "the cosine of optimiser.decoder_rate begins after 100000 iterations",
        ),
        ("optimiser.rate=0.1", "optimiser.rate: "),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(override, told):
    with pytest.raises(MaskDCPTError) as error:
        loaded("pretrain", "5d", override)
    assert told in str(error.value)
    assert "5d.yaml: " in str(error.value)


def test_a_preset_of_nothing_is_refused(tmp_path):
    path = tmp_path / "none.yaml"
    path.write_text("training: 3\n", encoding="utf-8")
    with pytest.raises(MaskDCPTError, match="data: field required"):
        load(str(path), Finetune, kind="finetune")
