"""The study of what pre-training gains, at toy size."""

import pytest
import torch
import yaml
from click.testing import CliRunner

from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.weights.building import build
from maskdcpt_cli.weights.checkpoint import read_checkpoint
from recipes.evidence import __main__ as command
from recipes.evidence import growth
from recipes.evidence.data import DataPresets, prepare
from recipes.evidence.runs import SETTING, Run, write_first_weights
from recipes.evidence.scores import image_scores, psnr_change
from recipes.evidence.study import ARMS, MAIN, MASKDCPT, RANDOM, SAME_COMPUTE, Condition, Study
from tests.datasets import photos, save

SIZES = "{nafnet: {width: 4, enc_blk_nums: [1, 1], middle_blk_num: 1, dec_blk_nums: [1, 1]}}"
LR = "optimizer: {lr: {initial: 1e-3}}"
TRAINING = "training: {stages: [{iterations: 2, crop_size: 32, batch: 2}], workers: 0}"
VALIDATION = "validation: {every: 1, images: 1, crop_size: 32}"
PRESET = f"data: tiny\nsizes: {SIZES}\n{LR}\n{TRAINING}\n{VALIDATION}\n"


@pytest.fixture
def clean(tmp_path):
    for index in range(24):
        save(tmp_path / "photos" / f"{index:02}.png", photos()[index % len(photos())])
    return tmp_path / "photos"


@pytest.fixture
def preset(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(PRESET, encoding="utf-8")
    return str(path)


def study(tmp_path, **changes):
    data = DataPresets(tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "c.yaml")
    given = {"iterations": (100, 50), "seeds": [0, 1], "conditions": [Condition(False, 1e-3)]}
    return Study(tmp_path, data, "evidence", **given | changes)


@pytest.mark.slow
def test_photos_of_the_phases_are_apart_and_few_are_of_the_second(tmp_path, clean):
    presets = prepare([clean], tmp_path / "out")
    names = {
        preset.stem: {path.name for path in (tmp_path / "out" / preset.stem).iterdir()}
        for preset in presets
    }
    assert not names["pretraining"] & names["finetuning"]
    assert names["few"] <= names["finetuning"]
    for preset in presets:
        data = load_data(str(preset))
        assert [part.degradation for part in data.train] == list(SETTINGS[SETTING])
        assert [part.degradation for part in data.test] == list(SETTINGS[SETTING])
    assert prepare([clean], tmp_path / "out") == presets


def test_every_network_begins_as_the_identity_with_the_encoder_that_it_is_given(tmp_path, preset):
    first, other, given = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c"))
    write_first_weights(first, preset=preset, seed=0)
    write_first_weights(other, preset=preset, seed=1)
    write_first_weights(given, preset=preset, seed=0, pretrained=other)
    networks = {path: build(read_checkpoint(path)) for path in (first, other, given)}
    lq = torch.rand(1, 3, 32, 32)
    for network in networks.values():
        assert torch.equal(network(lq), lq)
    intro = {path: network.intro.weight for path, network in networks.items()}
    assert not torch.equal(intro[first], intro[other])
    assert torch.equal(intro[given], intro[other])


def test_an_arm_is_pretrained_by_its_settings_and_fine_tuned_from_that(tmp_path):
    runs = study(tmp_path, arms=tuple(ARMS), settings=("training.ema=0",))
    condition = runs.conditions[0]
    for run in (runs.pretrained("DCPT", 0), runs.finetuned(condition, "DCPT", 0)):
        assert "training.ema=0" in run.settings
    assert runs.pretrained(RANDOM, 0) is None
    folders = [runs.pretrained(arm, 0).folder for arm in ARMS if ARMS[arm].pretraining is not None]
    assert len(set(folders)) == 6
    for arm in ARMS:
        if arm != SAME_COMPUTE:
            run = runs.finetuned(condition, arm, 1)
            assert (run.iterations, run.seed, run.data) == (50, 1, runs.data.finetuning)
            assert run.initialise_from != runs.finetuned(condition, arm, 0).initialise_from
    few = runs.finetuned(Condition(True, 1e-3), MASKDCPT, 0)
    assert few.data == runs.data.few
    assert few.folder != runs.finetuned(condition, MASKDCPT, 0).folder


def test_the_same_compute_is_that_of_both_phases_and_stays(tmp_path, monkeypatch):
    runs = study(tmp_path)
    monkeypatch.setattr(Run, "seconds", lambda run: 3.0 if run.kind == "pretrain" else 2.0)
    longer = runs.finetuned(runs.conditions[0], SAME_COMPUTE, 0)
    assert longer.iterations == 50 + 100 * 3 / 2
    longer.folder.mkdir()
    begun = {"training": {"stages": [{"iterations": 70}]}}
    (longer.folder / "preset.yaml").write_text(yaml.safe_dump(begun), encoding="utf-8")
    assert runs.finetuned(runs.conditions[0], SAME_COMPUTE, 0).iterations == 70


def test_a_psnr_change_is_the_mean_over_images_and_its_interval_holds_it():
    theirs = [{str(i): 20.0 + i for i in range(40)}, {str(i): 21.0 + i for i in range(40)}]
    ours = [{photo: psnr + 0.5 for photo, psnr in one.items()} for one in theirs]
    assert psnr_change(to=ours, of=theirs) == pytest.approx((0.5, 0.5, 0.5))
    mixed = [{p: v + (1 if int(p) % 2 else -1) for p, v in one.items()} for one in theirs]
    mean, low, high = psnr_change(to=mixed, of=theirs)
    assert mean == pytest.approx(0)
    assert low == pytest.approx(-2 / 40**0.5, abs=0.05)
    assert high == pytest.approx(2 / 40**0.5, abs=0.05)
    assert str(psnr_change(to=ours, of=theirs)) == "+0.50 (+0.50 to +0.50)"


@pytest.mark.slow
def test_the_command_compares_all_arms_and_goes_on_where_it_was(tmp_path, clean, preset):
    out = tmp_path / "out"
    arguments = [clean, "-o", out, "--preset", preset, "--seeds", 1, "--iterations", 2, 2]
    arguments = [*map(str, arguments), "--lr", "1e-3"]
    first = CliRunner().invoke(command.main, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    cells = [line.strip("| ").split(" | ") for line in first.output.splitlines() if "|" in line]
    table = [row for row in cells if row[0] in MAIN]
    assert [row[0] for row in table] == [*MAIN, *MAIN]
    assert (out / "evidence.png").exists()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("final.safetensors")}
    again = CliRunner().invoke(command.main, arguments, catch_exceptions=False)
    assert [line for line in again.output.splitlines() if line[:1] == "|"] == [
        line for line in first.output.splitlines() if line[:1] == "|"
    ]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("final.safetensors")} == before

    run = next(out.glob("pretrain-maskdcpt-0"))
    grown = CliRunner().invoke(
        growth.main, [str(run), "--photos", str(clean), "--images", "6", "--size", "64"],
        catch_exceptions=False,
    )  # fmt: skip
    rows = [line.strip("| ").split(" | ") for line in grown.output.splitlines() if "%" in line]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert rows[0][2:] == ["0.0000", "0.0000", "0.0%"]
    assert float(rows[-1][2]) > 0


def test_photos_are_scored_over_all_degradations(tmp_path, clean, preset):
    weights, data = tmp_path / "a.safetensors", tmp_path / "data.yaml"
    write_first_weights(weights, preset=preset, seed=0)
    part = {"degradation": "GN", "sources": [{"name": "photos", "gt": "photos/{path}"}]}
    noisy = {**part, "synthesis": {"variant": "gaussian", "levels": [25], "seed": 0}}
    content = {"setting": SETTING, "test": [noisy, {**part, "degradation": "H"}]}
    data.write_text(yaml.safe_dump(content), encoding="utf-8")
    scores = image_scores(weights, data, tmp_path / "out")
    assert len(scores) == 24
    content["test"] = [noisy]
    data.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert all(19.5 < psnr < 23 for psnr in image_scores(weights, data, tmp_path / "out").values())
