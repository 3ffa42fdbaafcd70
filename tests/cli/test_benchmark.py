"""`maskdcpt benchmark`: its tables, files, page, exit codes and words."""

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from maskdcpt_cli.cli import main
from maskdcpt_cli.cli.benchmark.tables import NO_FIGURE
from maskdcpt_cli.inference import networks
from maskdcpt_cli.inference.networks import identity
from tests.benchmarking.layouts import crops, lay_out
from tests.cli.test_report import Page, in_a_browser, opened
from tests.datasets import degraded, save


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The test sets of 5d without GoPro, and clean photos."""
    root = tmp_path_factory.mktemp("data")
    lay_out(root, "5d")
    (root / "GoPro").rename(root / "gone")
    for number, crop in enumerate(crops()):
        save(root / "photos" / f"{number}.png", crop)
        save(root / "rainy" / f"{number}.png", degraded(crop, "RS", seed=number))
    return root


@pytest.fixture(scope="module")
def five(data, tmp_path_factory) -> tuple[Result, Path]:
    """What the identity shows on 5d."""
    out = tmp_path_factory.mktemp("five") / "out"
    command = ["--data-preset", "5d", "--data-root", str(data), "-m", "identity", "-o", str(out)]
    return run(*command), out


def run(*arguments: str) -> Result:
    """Run in a terminal of 80 columns without colours."""
    command = ["benchmark", *arguments, "--jobs", "1"]
    return CliRunner().invoke(main, command, env={"FORCE_COLOR": "1", "TERM": "dumb"})


def test_our_row_stands_below_the_published_ones(five):
    result, _ = five
    lines = result.stdout.splitlines()
    start = lines.index("Table I, PSNR, dB")
    table = lines[start : lines.index("", start)]
    heads = ("dehazing", "deraining", "denoising", "deblurring", "light")
    assert table[2].split() == list(heads)
    assert line_of(table, "NAFNet+MaskDCPT") == [31.40, 39.92, 31.41, 31.40, 26.31]
    ours, difference = table[-2].split(), table[-1].split()
    assert ours[:2] == ["identity", "(ours)"]
    assert (ours[5], difference[4]) == (NO_FIGURE, NO_FIGURE)  # GoPro is not there
    theirs = dict(zip(heads, line_of(table, "PromptIR+MaskDCPT"), strict=True))
    assert float(difference[1]) == pytest.approx(
        float(ours[2].strip("*")) - theirs["dehazing"], abs=0.011
    )
    printed = " ".join(result.stdout.split())
    assert "The difference is to PromptIR+MaskDCPT" in printed


def line_of(table: list[str], name: str) -> list[float]:
    (line,) = [line for line in table if line.startswith(name)]
    return [float(word) for word in line.removeprefix(name).split()]


def test_sets_that_are_missing_are_named_with_their_place(five, data):
    result, _ = five
    assert result.exit_code == 1
    assert f"Not measured: GoPro: there is no GoPro/test in '{data}'." in result.stdout
    assert "* dehazing: 2 of 500 images of SOTS" in result.stdout


def test_tables_fit_the_terminal(five):
    result, _ = five
    tables = result.stdout.partition("Table I: one")[0]
    assert max(map(len, tables.splitlines())) <= 80
    assert "…" not in result.stdout


def test_what_was_measured_is_printed_with_its_protocol(five):
    result, _ = five
    printed = " ".join(result.stdout.split())
    assert "identity on 5d" in printed
    assert re.search(r"CBSD68, σ 25 +noise +2 +2\d\.\d\d +0\.\d{4}", result.stdout)
    assert "maskdcpt: PSNR and SSIM in sRGB" in printed
    assert "20.17 at 25. Clipping it" in printed


def test_all_measured_is_exit_code_0(data):
    result = run("--data-preset", "denoise", "--photos", str(data / "photos"), "-m", "identity")
    assert result.exit_code == 0, result.output
    folder = Path("results/photos-denoise-identity")
    assert {path.name for path in folder.iterdir()} >= {"table.md", "table.csv", "index.html"}
    assert "Table III" not in result.stdout  # other images than the paper's


def test_own_pairs_are_measured_with_the_embedded_model(data):
    pairs = ["--pairs", str(data / "rainy"), str(data / "photos")]
    result = run(*pairs, "--metrics", "psnr, ssim", "--limit", "1")
    assert result.exit_code == 0, result.output
    (folder,) = Path("results").glob(f"own-pairs-{data.name}-rainy-*-tiny-asked")
    assert (folder / "table.md").exists()
    (folder / "results.jsonl").write_text('{"set": "rain", "na')  # cut short by a crash
    assert run(*pairs, "--metrics", "psnr", "--limit", "1").exit_code == 0
    assert "tiny-asked: " in result.stderr
    assert ", fp32" in result.stderr
    assert re.search(r"/rainy +1 +\d\d\.\d\d +0\.\d{4}", result.stdout)


def test_the_same_command_goes_on(data):
    command = ["--pairs", str(data / "rainy"), str(data / "photos"), "-m", "identity", "-o", "out"]
    first = run(*command, "--limit", "1")
    second = run(*command)
    assert "1 of 2 images read from earlier results" in second.stderr
    assert (first.exit_code, second.exit_code) == (0, 0)
    third = run(*command, "--protocol", "restormer-derain")
    assert third.exit_code == 1
    assert "'out' holds results of other weights, settings or plugins" in third.stderr


def test_markdown_holds_the_tables(five):
    _, out = five
    text = (out / "table.md").read_text(encoding="utf-8")
    assert "# identity on 5d" in text
    assert "| NAFNet+MaskDCPT | 31.40 | 39.92 | 31.41 | 31.40 | 26.31 |" in text
    assert re.search(r"\| \*\*identity \(ours\)\*\* \| \*\*\\\*\d+\.\d\d\*\* \|", text)
    assert "- GoPro: there is no GoPro/test in" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| NAFNet")}
    assert widths == {7}


def test_csv_holds_a_figure_a_line(five):
    _, out = five
    with (out / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (theirs,) = [
        row["figure"]
        for row in rows
        if (row["method"], row["column"], row["metric"]) == ("NAFNet+MaskDCPT", "low light", "fid")
    ]
    assert theirs == "25.88"
    ours = [row for row in rows if row["method"] == "identity" and row["table"] == "Table I"]
    assert {(row["column"], row["metric"], row["partial"]) for row in ours} == {
        (column, metric, "1")
        for column in ("dehazing", "deraining", "denoising", "low light")
        for metric in ("psnr", "ssim")
    }
    assert sum(row["table"] == "measured" for row in rows) == 8


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ([], "Name the test sets: --data-preset NAME, or --pairs LQ GT."),
        (["--data-preset", "5dd", "--data-root", "."], "Did you mean '5d'?"),
        (["--data-preset", "5d"], "give --data-root FOLDER, or set MASKDCPT_DATA"),
        (
            ["--data-preset", "derain", "--photos", "."],
            "no synthetic test sets, so it cannot degrade photos; use denoise or 12d",
        ),
        (
            ["--data-preset", "5d", "--pairs", ".", "."],
            "--pairs cannot be combined with --data-preset or --photos.",
        ),
        (["--data-preset", "5d", "--data-root", ".", "--metrics", "pnsr"], "Did you mean 'psnr'?"),
        (
            ["--data-preset", "5d", "--data-root", ".", "--beside", "Airnet"],
            "Did you mean 'AirNet'?",
        ),
        (["--data-preset", "5d", "--data-root", ".", "--protocol", "x"], "'x' is not one of"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(command, sentence):
    result = run(*command)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert not list(Path().iterdir())


def test_a_model_that_does_not_exist_is_reported_before_anything_is_written(data):
    result = run("--data-preset", "5d", "--data-root", str(data), "-m", "nafnet-6d", "-o", "out")
    assert result.exit_code == 1
    assert "Did you mean 'nafnet-5d'" in result.stderr
    assert not Path("out").exists()


def test_a_run_that_is_interrupted_says_how_to_go_on(data, monkeypatch):
    calls = []

    def restore(lq):
        calls.append(lq)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return lq

    lay_out(Path(), "derain")
    command = ["--data-preset", "derain", "--data-root", ".", "-m", "identity", "-o", "out"]
    with monkeypatch.context() as patched:
        patched.setattr(networks, "identity", lambda: identity()._replace(restore=restore))
        result = run(*command)
    assert result.exit_code == 130
    assert "Interrupted: 2 images measured and saved; the same command resumes" in result.stderr
    assert "Rain100L: 2 of 2 images read from earlier results" in run(*command).stderr


@pytest.mark.parametrize("name", ["index.html", "table.csv", "results.jsonl"])
def test_files_of_others_in_the_folder_are_not_replaced(data, name):
    Path("site").mkdir()
    Path("site", name).write_text("mine")
    pairs = ["--pairs", str(data / "rainy"), str(data / "photos")]
    result = run(*pairs, "-m", "identity", "-o", "site")
    assert result.exit_code == 1
    assert f"'site/{name}' is not " in result.stderr
    assert "choose another folder with -o" in result.stderr
    assert Path("site", name).read_text() == "mine"


def test_results_below_the_photos_are_not_measured(data, monkeypatch):
    monkeypatch.chdir(shutil.copytree(data / "photos", "own"))
    command = ["--data-preset", "denoise", "--photos", ".", "-m", "identity"]
    first, second = run(*command), run(*command)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == second.stdout


def test_a_tab_offers_presets():
    env = {
        "_MASKDCPT_COMPLETE": "bash_complete",
        "COMP_WORDS": "maskdcpt benchmark --preset den",
        "COMP_CWORD": "3",
    }
    result = CliRunner().invoke(main, [], prog_name="maskdcpt", env=env)
    assert result.stdout.split() == ["plain,denoise"]


def test_the_page_loads_nothing(five):
    _, out = five
    page = (out / "index.html").read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!data:)|url\(|@import|https?:', page)
    assert page.count("<img") == 4 * 2 * 3


@pytest.fixture(scope="module")
def page(five, tmp_path_factory) -> Iterator[Page]:
    _, out = five
    with opened(out / "index.html", tmp_path_factory.mktemp("profile")) as driven:
        yield driven


@in_a_browser
def test_the_page_shows_our_row_beside_the_published_ones(page):
    first = "document.querySelector('section table')"
    assert page.value(f"{first}.caption.textContent") == "Table I, PSNR, dB"
    assert page.value(f"{first}.querySelectorAll('tr.published').length") == 21
    assert page.value(f"{first}.querySelector('tr.beside th').textContent") == "PromptIR+MaskDCPT"
    assert page.value(f"{first}.querySelector('tr.ours th').textContent") == "identity (ours)"
    assert page.value(f"{first}.querySelectorAll('td.worse').length") == 4
    weight = f"getComputedStyle({first}.querySelector('tr.ours td')).fontWeight"
    assert int(page.value(weight)) >= 600


@in_a_browser
def test_the_page_shows_examples_side_by_side(page):
    images = "[...document.querySelectorAll('figure:first-of-type img')]"
    page.value(f"{images}.forEach(image => image.loading = 'eager'), 0")
    tops = page.value(f"{images}.map(image => image.getBoundingClientRect().top)")
    assert len(tops) == 3
    assert len(set(tops)) == 1
    names = page.value("[...document.querySelectorAll('figure span')].map(s => s.textContent)")
    assert names[:3] == ["input", "restored", "ground truth"]
    assert page.value(f"{images}.every(image => image.naturalWidth == 64)")


@in_a_browser
def test_the_page_tells_what_is_missing(page):
    printed = page.value("document.querySelector('.trouble').innerText")
    assert "Not measured: 1 test set" in printed
    assert "GoPro: there is no GoPro/test in" in printed


@in_a_browser
def test_the_page_fits_a_telephone(page):
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=360, height=740, deviceScaleFactor=2, mobile=True,
    )  # fmt: skip
    assert page.value("document.documentElement.scrollWidth") <= 360
