"""`maskdcpt study` and `maskdcpt compare`, as they are typed."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from maskdcpt_cli.benchmarking.ablation import ABLATIONS
from maskdcpt_cli.cli import main
from maskdcpt_cli.cli.study.view import _paper_json
from maskdcpt_cli.probing.probed_models import PaperFigure
from maskdcpt_cli.weights.zoo import EMBEDDED

PAIR = ("--folder", "haze=hazy", "--folder", "low-light=dark")
SMALL = ("-m", "tiny", "--size", "32", "--images", "6", "-q")


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for folder, brightness in (("hazy", 180), ("dark", 0)):
        Path(folder).mkdir()
        for i in range(6):
            pixels = generator.integers(0, 60, (40, 48, 3), np.uint8) + np.uint8(brightness)
            Image.fromarray(pixels).save(f"{folder}/{folder}{i}.png")


def test_neighbours_in_a_table_as_json_and_as_csv():
    shown = run("study", "knn", *PAIR, *SMALL, "--csv", "knn.csv", "-o", "knn.png")
    assert shown.exit_code == 0, shown.output
    assert "100" in shown.stdout
    with Path("knn.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert Image.open("knn.png").size[0] > 200
    printed = run("study", "knn", *PAIR, *SMALL, "--json")
    report = json.loads(printed.stdout)
    assert "tiny" in json.dumps(report)
    assert report["images"] == {"haze": 6, "low-light": 6}
    assert report["networks"][0]["paper"] is None


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--folder", "haze=dark"], "--folder haze=dark: this type has a folder already"),
        (["--shared"], "--shared is for --photos"),
    ],
)
def test_what_would_be_passed_over_is_refused(more, sentence):
    done = run("study", "knn", *PAIR, *SMALL, *more)
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_the_json_has_the_papers_figure_as_value_and_source():
    assert _paper_json(PaperFigure("94", "Table X")) == {"value": "94", "source": "Table X"}


def test_each_mask_ratio_has_an_accuracy_and_they_are_drawn():
    done = run("study", "mask", *PAIR, *SMALL, "--ratios", "0,0.5", "-o", "mask.png", "--json")
    assert done.exit_code == 0, done.output
    networks = json.loads(done.stdout)["networks"]
    # Bright and dark images are apart however much is masked.
    assert [(one["mask_ratio"], one["accuracy"]) for one in networks] == [(0, 1), (0.5, 1)]
    assert Path("mask.png").is_file()


def test_accuracy_over_a_training():
    Path("kept").mkdir()
    for iteration in (100, 200):
        shutil.copy(EMBEDDED / "tiny.safetensors", f"kept/{iteration:07}.safetensors")
    files = ("kept/0000100.safetensors", "kept/0000200.safetensors")
    done = run(
        "study", "training-curve", *files, *PAIR, *SMALL[2:], "--json", "--csv", "curve.csv",
        "-o", "curve.png",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert [one["iteration"] for one in json.loads(done.stdout)["networks"]] == [100, 200]
    with Path("curve.csv").open(encoding="utf-8") as file:
        assert [row["iteration"] for row in csv.DictReader(file)] == ["100", "200"]
    assert Path("curve.png").is_file()
    shown = run("study", "training-curve", *files[1:], *PAIR, *SMALL[2:])
    assert "Iteration" in shown.stdout


NETWORK = "sizes.nafnet={width: 4, enc_blk_nums: [1], dec_blk_nums: [1], middle_blk_num: 0}"


def ablation(table: str, *, side: int = 32) -> tuple[str, ...]:
    """Return the words of an ablation of one iteration, and write its photos, of this side."""
    generator = np.random.default_rng(0)
    Path("photos").mkdir(exist_ok=True)
    for number in range(10):
        pixels = generator.integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.png")
    training = f"{{stages: [{{iterations: 1, crop_size: {side}, batch: 2}}], workers: 0}}"
    validation = f"{{images: 1, crop_size: {side}}}"
    overrides = (f"training={training}", NETWORK, f"validation={validation}")
    return (
        *("study", "ablation", table, "--preset", "tiny", "--backbone", "nafnet"),
        *("--photos", "photos", "--setting", "5d", "--run-dir", "runs", "--device", "cpu"),
        *(word for text in overrides for word in ("--set-pretrain", text, "--set-finetune", text)),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "title", "rows"),
    [
        ("mask-ratio", "Table VII", {"0": 30.27, "25": 31.37, "50": 31.88, "75": 31.76}),
        ("patch-size", "Table VIII", {"1": 29.56, "4": 31.63, "16": 31.88, "32": 31.52}),
        ("method", "Table IX", {"square": 31.37, "block-wise": 31.47, "random": 31.88}),
    ],
)
def test_each_ablation_of_the_paper_is_one_command_that_prints_its_table(table, title, rows):
    done = run(*ablation(table, side=64))
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]
    assert f"{title}: PSNR in dB" in done.stdout
    printed = [line for line in lines if line[0] in rows or line[0] == "paper"]
    assert [line[0] for line in printed[::2]] == list(rows)
    assert [float(line[-1]) for line in printed[1::2]] == pytest.approx(
        list(rows.values()), abs=0.006
    )


def test_an_ablation_is_trained_once_and_shown_beside_the_paper(monkeypatch):
    method = ABLATIONS["method"]
    monkeypatch.setitem(ABLATIONS, "method", method._replace(masks=method.masks[-1:]))
    words = ablation("method")
    done = run(*words, "--csv", "ablation.csv")
    assert done.exit_code == 0, done.output
    assert "random" in done.stdout
    assert "32.71" in done.stdout  # the paper's
    trained = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("last.state")}
    assert len(trained) == 2
    again = run(*words, "--json")
    assert {p: p.stat().st_mtime_ns for p in Path("runs").rglob("last.state")} == trained
    figures = json.loads(again.stdout)
    assert len(figures) == 5
    assert figures[0].keys() == {"table", "mask", "degradation", "seed", "psnr", "paper"}
    with Path("ablation.csv").open(encoding="utf-8") as file:
        assert [float(row["psnr"]) for row in csv.DictReader(file)] == [
            one["psnr"] for one in figures
        ]


def test_a_plane_needs_a_file_and_is_drawn():
    assert run("study", "tsne", *PAIR, *SMALL).exit_code == 2
    done = run("study", "tsne", *PAIR, *SMALL, "-o", "plane.png", "--csv", "plane.csv")
    assert done.exit_code == 0, done.output
    assert Path("plane.png").is_file()
    with Path("plane.csv").open(encoding="utf-8") as file:
        heads = csv.DictReader(file).fieldnames
    assert heads == ["network", "image", "degradation", "x", "y"]


def test_nothing_is_overwritten_unasked():
    Path("knn.csv").write_text("mine", encoding="utf-8")
    refused = run("study", "knn", *PAIR, *SMALL, "--csv", "knn.csv")
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert Path("knn.csv").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("knn", *PAIR), "No network given: add --backbone NAME"),
        (("knn", "-m", "tiny"), "--photos FOLDER"),
        (("knn", "-m", "tiny", "--folder", "hazy"), "haze=hazy"),
        (("ablation", "method", "--setting", "5d"), "--setting goes with --photos"),
        (("training-curve", *PAIR), "Missing argument 'RUN|FILE...'"),
        (("mask", "-m", "tiny", *PAIR, "--ratios", "0,1"), "from 0 to below 1"),
    ],
)
def test_wrong_usage_is_reported(args, sentence):
    result = run("study", *args)
    assert result.exit_code == 2
    assert sentence in result.stderr


def results() -> None:
    for folder, value in (("a", 0), ("b", 200)):
        shutil.copytree("dark", folder)
        for path in Path(folder).iterdir():
            pixels = np.asarray(Image.open(path)).copy()
            pixels[20:30, 10:20] = value
            Image.fromarray(pixels).save(path)


def test_a_grid_has_a_column_for_each_image_and_replaces_no_file():
    results()
    done = run(
        "compare", "a", "b", "--input", "dark", "--gt", "dark", "-o", "grid.png", "--rows", "2"
    )
    assert done.exit_code == 0, done.output
    height, width = np.asarray(Image.open("grid.png")).shape[:2]
    assert width > 4 * 256
    assert height > 2 * 256
    again = run("compare", "a", "b", "--input", "dark", "-o", "grid.png")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_images_of_another_size_are_named_and_the_others_compared():
    results()
    Image.new("RGB", (9, 9)).save("a/dark0.png")
    done = run("compare", "a", "b", "--input", "dark", "-o", "grid.png", "-q")
    assert done.exit_code == 1
    assert "9x9 pixels" in done.stderr
    assert Path("grid.png").is_file()


def test_as_many_labels_as_results():
    results()
    wrong = run("compare", "a", "b", "-l", "one", "--input", "dark", "-o", "grid.png")
    assert wrong.exit_code == 2
    assert "2 results, but 1 --label" in wrong.stderr
