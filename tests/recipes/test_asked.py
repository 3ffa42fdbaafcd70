"""The evidence that a network can be asked, at toy size."""

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from maskdcpt_cli.degradations import SETTINGS, removable
from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.weights.checkpoint import Checkpoint, save_checkpoint
from recipes.tiny import asked, asked_picture
from tests.datasets import degraded, photos, save

LABELS = SETTINGS["12d+clean"]
OPTIONS = {"width": 4, "enc_blk_nums": (1,), "middle_blk_num": 0, "dec_blk_nums": (1,)}
ASKED = {"architecture": "instruct", "request_types": len(removable(LABELS))}


def write_network(path, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_backbone("nafnet", **options)
        for parameter in network.parameters():
            parameter.data.normal_(0, 0.1)
    save_checkpoint(Checkpoint("nafnet", options, network.state_dict(), degradations=LABELS), path)
    return path


@pytest.fixture
def blind(tmp_path):
    return write_network(tmp_path / "blind.safetensors", **OPTIONS)


@pytest.fixture
def model(tmp_path):
    return write_network(tmp_path / "asked.safetensors", **OPTIONS, **ASKED)


@pytest.fixture
def clean(tmp_path):
    for index in range(3):
        save(tmp_path / "clean" / f"{index}.png", photos()[index])
    return tmp_path / "clean"


def run(command, *arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    return result.exit_code, result.output


def rows_of(output):
    cells = [line.strip("| ").split(" | ") for line in output.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in cells}


def test_every_row_is_measured_the_same_way_every_time(tmp_path, model, blind, clean):
    save(tmp_path / "dark/0.png", degraded(photos()[0], "LL"))
    save(tmp_path / "bright/0.png", photos()[0])
    arguments = [model, clean, "--blind", blind, "--count", 2, "--side", 48]
    arguments += ["--pairs", "LL", tmp_path / "dark", tmp_path / "bright"]
    code, output = run(asked.main, *arguments)
    assert code == 0
    assert (code, output) == run(asked.main, *arguments)
    rows = rows_of(output)
    assert {row.title for row in asked.ROWS} <= rows.keys()
    assert rows["clean"][0] == "100.0 (100.0)"  # the input is the target
    assert len(set(rows["noise 25"][1:])) == 4  # blind, and three requests
    assert any(title.endswith("dark, pairs") for title in rows)
    assert {"pale", "dim", "pale, noise 10", "dim, noise 10"} <= rows.keys()


def test_a_network_that_cannot_be_asked_is_refused(blind, clean):
    code, output = run(asked.main, blind, clean)
    assert code == 2
    assert "cannot be asked" in output


def test_a_degraded_photo_does_not_depend_on_the_others(clean):
    row = next(row for row in asked.ROWS if row.degradation == "GN")
    several, one = (dict(asked.photos_in([clean], count=count, side=32)) for count in (3, 1))
    name = next(iter(one))
    lq = asked.degraded(row, name, one[name]).lq
    assert (lq == asked.degraded(row, name, several[name]).lq).all()
    assert (lq != one[name]).any()


def test_the_picture_shows_four_requests_and_their_targets(tmp_path, model, clean):
    code, _ = run(asked_picture.main, model, clean / "0.png", tmp_path / "out/asked.jpg")
    assert code == 0
    with Image.open(tmp_path / "out/asked.jpg") as sheet:
        assert sheet.width > 4 * asked_picture.WIDTH
