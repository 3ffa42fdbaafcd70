"""Training from Python: the folder of a run, and what is refused before anything is written."""

import os
import re
from functools import partial

import pytest
from PIL import Image

from maskdcpt_cli import MaskDCPTError, TrainingData, finetune, load_preset, pretrain
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.models.nafnet import NAFNet
from maskdcpt_cli.presets.show import annotated
from maskdcpt_cli.training.events import Notice, Saved, Step
from maskdcpt_cli.weights.checkpoint import read_checkpoint

SMALL = (
    "training.workers=0",
    "training.stages=[{iterations: 2, batch: 2, crop_size: 64}]",
    "sizes.nafnet={width: 4, enc_blk_nums: [1, 1, 1, 1], unshuffle: 2}",
    "heads.classifier_dims=[4, 4, 4, 4]",
    "heads.reconstruction_dims=[4, 4, 4, 4]",
)
RUNS = {"pretrain": pretrain, "finetune": finetune}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.effect_noise((96, 96), 80).convert("RGB").save(folder / f"{number}.png")
    return TrainingData(photos=folder)


def preset_of(kind, *more):
    own = [text for text in SMALL if kind == "pretrain" or not text.startswith("heads")]
    return load_preset(kind, "tiny", overrides=[*own, *more])


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_from_python_keeps_what_the_command_keeps(kind, photos, tmp_path):
    events = list(RUNS[kind](preset_of(kind), photos, tmp_path / "run", device="cpu"))
    assert [event.iteration for event in events if isinstance(event, Step)] == [1, 2]
    assert events[-1] == Saved(2, tmp_path / "run" / "final.safetensors")
    kept = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"preset.yaml", "launches.jsonl", "log.jsonl", "final.safetensors"} <= kept


def test_a_finished_run_is_refused_and_resumed_on_request(photos, tmp_path):
    list(pretrain(preset_of("pretrain"), photos, tmp_path / "run", device="cpu"))
    with pytest.raises(
        MaskDCPTError, match=r"There is a finished run in .* To train further, .* --init-from"
    ):
        pretrain(preset_of("pretrain"), photos, tmp_path / "run", device="cpu")
    again = pretrain(preset_of("pretrain"), photos, tmp_path / "run", resume=True, device="cpu")
    assert not [event for event in again if isinstance(event, Step)]


def test_a_run_that_resumes_on_other_images_says_so(photos, tmp_path):
    def notices(iterations, **how):
        stages = f"training.stages=[{{iterations: {iterations}, batch: 2, crop_size: 64}}"
        further = ", {iterations: 1, batch: 2, crop_size: 64, lr: {initial: 1e-4}}]"
        preset = preset_of("finetune", stages + (further if how.pop("longer", False) else "]"))
        events = finetune(preset, photos, tmp_path / "run", device="cpu", **how)
        return [event.text for event in events if isinstance(event, Notice)]

    notices(2)
    assert not any("pairs" in text for text in notices(2, resume=True))
    Image.effect_noise((96, 96), 80).convert("RGB").save(tmp_path / "photos" / "another.png")
    first, *_ = notices(2, resume=True, longer=True)
    had, has = map(int, re.findall(r"\d+", first))
    assert first.startswith("The run had ")
    assert had % 3 == 0
    assert 3 * has == 4 * had


@pytest.mark.parametrize(("kind", "other"), [("pretrain", "finetune"), ("finetune", "pretrain")])
def test_a_preset_of_the_other_kind_is_refused(kind, other, photos, tmp_path):
    with pytest.raises(MaskDCPTError, match=f"The preset is one of {other}, not of {kind}"):
        RUNS[kind](preset_of(other), photos, tmp_path / "run")


def test_types_without_training_images_are_named(tmp_path):
    for name in ("lq/1.png", "gt/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.effect_noise((96, 96), 80).convert("RGB").save(tmp_path / name)
    own = tmp_path / "own.yaml"
    source = "{name: a, lq: 'lq/{n}', gt: 'gt/{n}'}"
    part = f"[{{degradation: H, sources: [{source}]}}]"
    own.write_text(f"setting: 5d\ntrain: {part}\ntest: {part}\n")
    preset = preset_of("finetune", f"data={own}")
    events = finetune(preset, TrainingData(root=tmp_path), tmp_path / "run", device="cpu")
    texts = [event.text for event in events if isinstance(event, Notice)]
    assert "The data have no training images of: rain, noise, motion-blur, low-light." in texts


def test_pretraining_refuses_a_network_that_the_decoders_do_not_fit(photos, tmp_path):
    deep = "sizes.nafnet={width: 4, enc_blk_nums: [1, 1, 1, 1, 1], dec_blk_nums: [1, 1, 1, 1, 1]}"
    with pytest.raises(MaskDCPTError, match="takes 1 to 4 features, but this backbone has 5"):
        pretrain(preset_of("pretrain", deep), photos, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_pretraining_refuses_features_that_cannot_be_pooled(photos, tmp_path, monkeypatch):
    class Steep(NAFNet):
        def __init__(self, **options):
            super().__init__(**options)
            self.feature_scales = (16, 8, 4, 1)

    monkeypatch.setitem(BACKBONES.own, "nafnet", Steep)
    sentence = "tiny: feature_scales end in 1, so that number 2 from the end must divide 2, but it"
    with pytest.raises(MaskDCPTError, match=sentence):
        pretrain(preset_of("pretrain"), photos, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_restart_resumes_what_the_same_command_began_alone(photos, tmp_path, monkeypatch):
    run = partial(pretrain, preset_of("pretrain"), photos, tmp_path / "run", device="cpu")
    list(run(command=("--photos", "a")))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(MaskDCPTError, match="There is a finished run in"):
        run(command=("--photos", "b"))
    assert not [event for event in run(command=("--photos", "a")) if isinstance(event, Step)]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("backbone=nafnett", "Did you mean 'nafnet'"),
        ("initialise_from=missing.safetensors", "missing.safetensors"),
        ("training.stages=[{iterations: 2, batch: 2, crop_size: 80}]", "multiples of"),
        ("data=nowhere", "Unknown data preset 'nowhere'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    override, message, photos, tmp_path
):
    with pytest.raises(MaskDCPTError, match=message):
        pretrain(preset_of("pretrain", override), photos, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_photos_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(MaskDCPTError):
        pretrain("tiny", TrainingData(photos=tmp_path / "none"), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_preset_has_a_kind_and_a_name():
    assert preset_of("pretrain").name == "tiny"
    with pytest.raises(MaskDCPTError, match="Unknown kind of preset 'pretraining'"):
        load_preset("pretraining", "tiny")
    with pytest.raises(MaskDCPTError, match="Unknown pretrain preset 'tyni'"):
        load_preset("pretrain", "tyni")


def test_a_preset_may_have_a_name_that_is_no_text(photos, tmp_path):
    path = tmp_path / os.fsdecode(b"mine-\xff.yaml")
    preset = preset_of("finetune")
    path.write_text(annotated(preset, name=None, kind="finetune"), encoding="utf-8")
    list(finetune(str(path), photos, tmp_path / "run", device="cpu"))
    assert read_checkpoint(tmp_path / "run/final.safetensors").preset == r"mine-\xff"


def test_images_that_contradict_one_another_are_refused():
    with pytest.raises(MaskDCPTError, match="Give either photos or pairs, not both"):
        TrainingData(photos="a", pairs=[("lq", "gt")], degradations=["H"])
    with pytest.raises(MaskDCPTError, match="setting is of photos and pairs"):
        TrainingData(root="data", setting="5d")
