"""`maskdcpt score`, as it is typed: figures, pairs, bounds and files of results."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from maskdcpt_cli.cli import main
from maskdcpt_cli.inference.backends import DEVICES
from maskdcpt_cli.scoring import pyiqa_adapter
from maskdcpt_cli.scoring.events import Unavailable
from maskdcpt_cli.scoring.pairing import pair_files
from maskdcpt_cli.scoring.scorer import score
from tests.scoring.pairs import noisy, photograph, two_folders, write

NEEDS = (
    "lpips needs weights that could not be downloaded (no network): download U and save it as P."
)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    two_folders(tmp_path, pairs=7)
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    """No metric but psnr and ssim can be opened."""
    plain = pyiqa_adapter.open_metric

    def opened(name: str, **options):
        return plain(name, **options) if name in ("psnr", "ssim") else Unavailable(name, NEEDS)

    monkeypatch.setattr("maskdcpt_cli.scoring.scorer.open_metric", opened)


def run(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["score", *args, "--jobs", "1"])
    assert result.exit_code == code, result.output
    return result


def expected(metric: str) -> list[float]:
    pairs = pair_files(Path("restored"), Path("gt")).items
    return [one.values[metric] for one in score(pairs, [metric], jobs=1).images]


def test_the_table_has_mean_interval_and_the_worst_five():
    result = run("restored", "gt")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    psnr, ssim = expected("psnr"), expected("ssim")
    assert re.fullmatch(
        rf"psnr {np.mean(psnr):.2f} dB [\d.]+ to [\d.]+ 7 higher is better", lines[1]
    )
    assert lines[2].startswith(f"ssim {np.mean(ssim):.4f} ")
    start = lines.index("Worst 5 by psnr psnr ssim")
    assert lines[start + 1 : start + 6] == [
        f"{number}.png {psnr[number]:.2f} {ssim[number]:.4f}" for number in (6, 5, 4, 3, 2)
    ]
    assert not result.stderr


def test_the_protocol_and_the_rule_of_the_pairs_are_printed():
    printed = run("restored", "gt", "--protocol", "restormer-derain", "--crop", "2").stdout
    assert "Protocol restormer-derain: PSNR and SSIM of luma" in printed
    assert "2 pixels cropped from each side" in printed
    assert "7 pairs, by the path in the folder, then by the name." in printed


@pytest.mark.parametrize("columns", ["80", "100"])
def test_the_figures_fit_the_terminal(columns):
    result = CliRunner().invoke(
        main,
        ["score", "restored", "gt", "--jobs", "1"],
        env={"COLUMNS": columns, "FORCE_COLOR": "1", "TERM": "xterm"},
    )
    plain = re.sub(r"\x1b\[[\d;]*m", "", result.stdout)
    assert max(map(len, plain.splitlines())) <= int(columns)
    assert "\u2026" not in plain


def test_files_without_a_partner_are_listed():
    Path("gt/0.png").unlink()
    Path("restored/1.png").unlink()
    result = run("restored", "gt", code=1)
    assert "Without a ground truth: 1\n  restored/0.png\n" in result.stderr
    assert "Ground truths without a restored image: 1\n  gt/1.png\n" in result.stderr


def test_a_ground_truth_too_many_is_no_failure():
    Path("restored/1.png").unlink()
    assert "gt/1.png" in run("restored", "gt").stderr


def test_many_restored_images_to_one_ground_truth():
    for number in range(3):
        write(Path(f"hazy/1400_{number}.png"), noisy(photograph(0), 5 + number))
    write(Path("clear/1400.png"), photograph(0))
    refused = run("hazy", "clear", code=2)
    assert "--pair-by prefix would pair 3 of them, as '1400_0.png' with '1400.png'." in (
        refused.stderr
    )
    assert (
        "3 pairs, by the beginning of the name."
        in run("hazy", "clear", "--pair-by", "prefix").stdout
    )


def test_two_files_are_one_pair_without_an_interval():
    result = run("restored/3.png", "gt/3.png")
    assert f"{expected('psnr')[3]:.2f} dB" in result.stdout
    assert "1 pair, as given." in result.stdout
    assert "Worst" not in result.stdout
    assert "Intervals" not in result.stdout


def test_without_ground_truth_piqe_is_measured():
    assert re.search(r"^piqe +[\d.]+ ", run("restored").stdout, re.MULTILINE)


def test_a_comparison_without_ground_truth_is_wrong_usage():
    result = run("restored", "--metrics", "psnr,piqe", code=2)
    assert "psnr needs a ground truth" in result.stderr
    assert "or type --metrics piqe." in result.stderr


def test_one_bad_file_is_named_and_stops_no_other():
    Path("restored/2.png").write_bytes(b"no image")
    result = run("restored", "gt", code=1)
    assert "Not measured: 1\n  2.png: restored/2.png cannot be read" in result.stderr
    assert re.search(r"^psnr .* 6  higher", result.stdout, re.MULTILINE)


def test_conversions_are_reported_once_for_all_images_alike():
    for number in (1, 2):
        write(Path(f"restored/{number}.png"), photograph(number)[..., 0])
    printed = run("restored", "gt").stderr
    assert "Converted\n  1.png and 1 more image: The restored image: grey" in printed


def test_weights_out_of_reach_are_reported_and_the_others_measured(offline):
    result = run("restored", "gt", "--metrics", "lpips,psnr", code=1)
    assert f"Metrics left out: 1\n  {NEEDS}\n" in result.stderr
    assert "psnr" in result.stdout
    assert "Worst 5 by psnr" in result.stdout


def test_a_bound_fails_and_names_figure_and_bound():
    mean = np.mean(expected("psnr"))
    assert not run("restored", "gt", "--min", "psnr=20").stderr
    result = run("restored", "gt", "--min", "psnr=50", "--min", "ssim=0.1", code=1)
    assert result.stderr == f"Out of bounds\n  psnr is {mean:.2f} dB, below --min psnr=50.\n"
    assert "ssim" in result.stdout


def test_a_figure_that_rounds_to_its_bound_is_printed_apart_from_it():
    bound = round(np.mean(expected("psnr")) + 0.002, 2) + 0.001
    shown = re.search(
        r"psnr is ([\d.]+) dB", run("restored", "gt", "--min", f"psnr={bound}", code=1).stderr
    )
    assert float(shown[1]) < bound


def test_a_bound_adds_its_metric(offline):
    result = run("restored", "gt", "--max", "lpips=0.2", code=1)
    assert "lpips was not measured, so --max lpips=0.2 does not hold." in result.stderr
    assert "ssim" in result.stdout


def test_a_device_that_is_not_there_is_an_error_before_anything_is_measured(monkeypatch):
    monkeypatch.setitem(DEVICES, "cuda", lambda: False)
    result = run("restored", "gt", "--device", "cuda:9", code=1)
    assert "The device 'cuda:9' is not available here: use --device auto or cpu." in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--min", "psnr"], "--min psnr: expected a metric and a number, as psnr=30."),
        (["--min", "pnsr=3"], "Unknown metric 'pnsr'. Did you mean 'psnr'?"),
        (["--min", "lpips=0.2"], "lpips is better when lower, type --max lpips=0.2."),
        (["--max", "psnr=30"], "psnr is better when higher, type --min psnr=30."),
        (["--metrics", "ssmi"], "Unknown metric 'ssmi'. Did you mean 'ssim'"),
        (["--csv", "a", "--html", "a"], "--csv and --html name the same file."),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(args, sentence):
    assert sentence in run("restored", "gt", *args, code=2).stderr


def test_nothing_is_overwritten_unasked():
    Path("out.csv").write_text("mine", encoding="utf-8")
    result = run("restored", "gt", "--csv", "out.csv", code=2)
    assert "'out.csv' exists: name another file, or type --overwrite." in result.stderr
    assert Path("out.csv").read_text(encoding="utf-8") == "mine"
    run("restored", "gt", "--csv", "out.csv", "--overwrite")
    assert Path("out.csv").read_text(encoding="utf-8").startswith("name,")


def test_paths_in_csv_and_json_are_those_of_the_files():
    for folder in ("restored", "gt"):
        write(Path(folder, "10.30\u202fAM.png"), photograph(1))
    result = run("restored", "gt", "--csv", "score.csv", "--json")
    with Path("score.csv").open(encoding="utf-8", newline="") as file:
        assert all(Path(row["restored"]).exists() for row in csv.DictReader(file))
    images = json.loads(result.stdout)["images"]
    assert all(Path(one[key]).exists() for one in images for key in ("restored", "gt"))


def test_figures_are_printed_where_a_file_cannot_be_written():
    Path("file").write_text("")
    result = run("restored", "gt", "--csv", "file/score.csv", code=1)
    assert "psnr" in result.stdout
    assert "Cannot write 'file/score.csv'" in result.stderr


def test_the_csv_has_a_line_for_each_image():
    Path("restored/2.png").write_bytes(b"no image")
    run("restored", "gt", "--csv", "new/out.csv", code=1)
    with Path("new/out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"{number}.png" for number in range(7)]
    assert rows[0]["gt"] == "gt/0.png"
    assert float(rows[0]["psnr"]) == pytest.approx(expected_of(0, "psnr"), abs=1e-6)
    assert (rows[2]["psnr"], rows[2]["ssim"]) == ("", "")
    assert "cannot be read" in rows[2]["remarks"]


def expected_of(number: int, metric: str) -> float:
    items = pair_files(Path(f"restored/{number}.png"), Path(f"gt/{number}.png")).items
    return score(items, [metric], jobs=1).means[metric]


def test_the_json_has_everything_and_nothing_else_is_printed(offline):
    Path("gt/0.png").unlink()
    Path("restored/1.png").unlink()
    Path("restored/2.png").write_bytes(b"no image")
    result = run("restored", "gt", "--metrics", "psnr,lpips", "--min", "psnr=60", "--json", code=1)
    assert not result.stderr
    printed = json.loads(result.stdout)
    assert printed["protocol"]["name"] == "maskdcpt"
    assert printed["without_gt"] == ["restored/0.png"]
    assert printed["unused_gt"] == ["gt/1.png"]
    assert printed["unavailable"] == {"lpips": NEEDS}
    assert printed["failed"]
    assert len(printed["out_of_bounds"]) == 1
    assert printed["metrics"]["psnr"]["images"] == 4
    assert len(printed["metrics"]["psnr"]["interval"]) == 2
    bad, good = printed["images"][:2]
    assert "cannot be read" in bad["problem"]
    assert good["values"].keys() == {"psnr"}


def test_quiet_says_only_what_failed():
    assert run("restored", "gt", "-q").output == ""
    assert run("restored", "gt", "-q", "--min", "psnr=60", code=1).output.startswith("Out of")


def test_a_tab_completes_the_last_of_several_metrics():
    env = {
        "_MASKDCPT_COMPLETE": "bash_complete",
        "COMP_WORDS": "maskdcpt score --metrics psnr,p",
        "COMP_CWORD": "3",
    }
    result = CliRunner().invoke(main, [], prog_name="maskdcpt", env=env)
    assert result.stdout.split() == ["plain,psnr,piqe"]
