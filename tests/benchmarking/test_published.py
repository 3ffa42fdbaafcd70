"""The tables of the paper, and where measured figures stand in them."""

from collections.abc import Iterator
from typing import Any

import pytest

from maskdcpt_cli.benchmarking.published import (
    LAYOUTS,
    METHOD,
    ROWS,
    TABLES,
    TEXT,
    PaperTable,
    SetInfo,
    paper_results,
    tables,
)
from maskdcpt_cli.benchmarking.table_rows import SetResult, table_rows
from maskdcpt_cli.benchmarking.test_sets import from_preset, info
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.load import load_data, names
from maskdcpt_cli.weights.zoo import ZOO

CELLS = [  # as printed in the paper
    ("5d", "NAFNet+MaskDCPT", "deraining", [39.92, 0.986, 0.008, 4.21]),
    ("5d", "AirNet", "low light", [18.18, 0.735, 0.122, 116.9]),
    ("12d", "MaskDCPT", "low light", [24.35, 0.794, 0.168, 34.83]),
    ("12d", "MaskDCPT", "Sec. V-A deraining", [31.93, 0.922, 0.056, 20.46]),
    ("12d", "best single-task", "dehazing", [37.54, 0.993, 0.005, 2.545]),
    ("denoise", "Restormer-5D", "Kodak24 σ 60", [26.91]),
    ("denoise", "NAFNet-12D+MaskDCPT", "CBSD68 σ 75", [25.86]),
    ("real-world", "MaskDCPT-NAFNet", "haze", [33.98, 33.21]),
    ("real-world", "InstructIR", "rain", [35.80, 0.964, 0.096, 63.83]),
    ("derain", "MaskDCPT-Restormer", "Test100", [37.70, 0.984]),
    ("motion-deblur", "DegAE-Restormer", "GoPro", [33.03]),
    ("5d", "Restormer+MoE+MaskDCPT", "5D", [32.07, 0.050]),
    ("9d", "Restormer+instructs", "9D", [29.67, 0.094]),
    ("12d", "Restormer+MaskDCPT", "12D", [30.79, 0.061]),
    ("mixed", "OneRestore", "low_blur_noise", [25.02, 0.788, 0.227, 34.32]),
]  # fmt: skip


def sets_of(preset: str, tmp_path) -> list[SetInfo]:
    return [info(one) for one in from_preset(load_data(preset), tmp_path)]


def all_tables(preset: str, tmp_path) -> list[PaperTable]:
    return tables(preset, sets_of(preset, tmp_path))


def first_table(preset: str, tmp_path) -> PaperTable:
    return all_tables(preset, tmp_path)[0]


def numbers(node: Any) -> Iterator[float]:
    if isinstance(node, (int, float)):
        yield float(node)
    elif isinstance(node, dict):
        for value in node.values():
            yield from numbers(value)
    elif isinstance(node, list):
        for value in node:
            yield from numbers(value)


@pytest.mark.parametrize(("preset", "method", "column", "figures"), CELLS)
def test_a_cell_is_as_it_is_printed(preset, method, column, figures, tmp_path):
    (table,) = [
        one
        for one in all_tables(preset, tmp_path)
        if column in {each.key for each in one.columns} and method in one.rows
    ]
    assert list(table.rows[method][column].values()) == figures


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_figure_of_a_table_is_lost(name, tmp_path):
    content = paper_results()[name]
    preset = next(preset for preset, its_tables in TABLES.items() if name in its_tables)
    (table,) = [one for one in all_tables(preset, tmp_path) if one.title == LAYOUTS[name].title]
    read = [
        figure
        for cells in table.rows.values()
        for key, cell in cells.items()
        if not key.startswith(TEXT)  # the same figures as without
        for figure in cell.values()
    ]
    assert sorted(read) == sorted(numbers(content))


def test_both_averages_of_table_ii_are_beside_the_same_figures(tmp_path):
    sets = sets_of("12d", tmp_path)
    table = first_table("12d", tmp_path)
    named = {c.title: c for c in table.columns if c.group == TEXT}
    counts = {title: sum(map(column.covers, sets)) for title, column in named.items()}
    assert counts == {
        "deraining": 6, "desnowing": 1, "motion deblurring": 3, "defocus deblurring": 1,
    }  # fmt: skip
    for title, column in named.items():
        assert set(column.names) <= {one.name for one in sets if column.covers(one)}
        (released,) = [c for c in table.columns if c.title == title and c.group != TEXT]
        assert sum(map(released.covers, sets)) > counts[title]
        assert all(row[column.key] == row[title] for row in table.rows.values())
    assert table.note.count("(deraining)") == 1


def test_an_average_of_the_text_is_of_its_sets_alone(tmp_path):
    blurred = [
        SetResult(SetInfo("GoPro", "MB"), {"psnr": 30.0}, 1111, 1111),
        SetResult(SetInfo("RSBlur", "MB"), {"psnr": 20.0}, 3360, 3360),
    ]
    row, *_ = table_rows(tables("12d", sets_of("12d", tmp_path)), blurred, model="mine")
    assert row.figures == {
        "motion deblurring": {"psnr": 25.0}, "Sec. V-A motion deblurring": {"psnr": 30.0},
    }  # fmt: skip


@pytest.mark.parametrize("preset", TABLES)
def test_every_column_is_the_mean_of_some_test_set(preset, tmp_path):
    assert preset in names()
    for table in tables(preset, sets_of(preset, tmp_path)):
        assert table.columns
        for column in table.columns:
            assert all(column.key in cells for cells in table.rows.values())


def test_columns_that_a_preset_has_no_set_for_are_left_out(tmp_path):
    of_12d = tables("12d", sets_of("12d", tmp_path))
    assert [column.key for column in first_table("derain", tmp_path).columns] == ["Test100"]
    assert {column.level for column in of_12d[1].columns} == {15, 25, 50}
    for preset in ("5d", "9d", "12d"):
        (column,) = all_tables(preset, tmp_path)[-1].columns
        assert column.key == preset.upper()


def test_published_weights_have_rows_of_their_own(tmp_path):
    assert set(ROWS) == {name for name, model in ZOO.items() if model.repo}
    presets = ("5d", "12d", "denoise", "real-world", "mixed")
    every = {one.title: one for p in presets for one in tables(p, sets_of(p, tmp_path))}
    for rows in ROWS.values():
        for title, row in rows.items():
            assert row in every[title].rows
            assert METHOD in row


FIVE = [
    SetResult(SetInfo("SOTS", "H"), {"psnr": 31.0, "ssim": 0.978}, 500, 500),
    SetResult(SetInfo("CBSD68", "GN", 25), {"psnr": 31.5}, 60, 68, failed=8),
    SetResult(SetInfo("GoPro", "MB"), {}),
]


def test_a_row_is_set_beside_that_of_the_same_weights(tmp_path):
    (table_row,) = table_rows([first_table("5d", tmp_path)], FIVE, model="nafnet-5d")
    dehazing, _, denoising, deblurring, _ = table_row.table.columns
    assert table_row.beside == "NAFNet+MaskDCPT"
    assert table_row.difference(dehazing, "psnr") == pytest.approx(-0.40)
    assert table_row.difference(denoising, "psnr") == pytest.approx(0.09)
    assert table_row.difference(deblurring, "psnr") is None
    assert table_row.metrics() == ("psnr", "ssim")


def test_a_model_of_ones_own_is_set_beside_the_best_of_the_columns_measured(tmp_path):
    table = first_table("5d", tmp_path)
    rows = {"H": "PromptIR+MaskDCPT", "RS": "NAFNet+MaskDCPT"}
    for degradation, row in rows.items():
        name = {"H": "SOTS", "RS": "Rain100L"}[degradation]
        one = SetResult(SetInfo(name, degradation), {"psnr": 20.0}, 1, 1)
        assert table_rows([table], [one], model="mine")[0].beside == row
    # Of PIQE less is better.
    (table_row,) = table_rows(
        [first_table("real-world", tmp_path)],
        [SetResult(SetInfo("RTTS", "H"), {"piqe": 40.0})],
        model="x",
    )
    assert table_row.beside == "MaskDCPT-NAFNet"


def test_the_row_to_compare_with_can_be_chosen(tmp_path):
    table = first_table("5d", tmp_path)
    assert table_rows([table], FIVE, model="nafnet-5d", beside="AirNet")[0].beside == "AirNet"
    with pytest.raises(MaskDCPTError, match=r"Unknown row 'Airnet'\. Did you mean 'AirNet'"):
        table_rows([table], FIVE, model="nafnet-5d", beside="Airnet")


def test_what_is_of_fewer_images_than_the_papers_is_reported(tmp_path):
    (table_row,) = table_rows([first_table("5d", tmp_path)], FIVE, model="mine")
    assert table_row.partial == {"denoising"}
    assert table_row.remarks == ("denoising: 60 of 68 images of CBSD68",)


def test_each_test_set_of_a_column_counts_the_same(tmp_path):
    rain = [
        SetResult(SetInfo("Rain100L", "RS"), {"psnr": 30.0}, 100, 100),
        SetResult(SetInfo("Test2800", "RS"), {"psnr": 20.0}, 2800, 2800),
        SetResult(SetInfo("Rain100H", "RS"), {}),
    ]
    table_row, *_ = table_rows(tables("12d", sets_of("12d", tmp_path)), rain, model="mine")
    mean = {"psnr": 25.0}
    assert table_row.figures == {"deraining": mean, "Sec. V-A deraining": mean}
    remarks = ("deraining: without Rain100H", "Sec. V-A deraining: without Rain100H")
    assert table_row.remarks == remarks


def test_every_degradation_counts_the_same_however_many_sets_it_has(tmp_path):
    figures = {"psnr": 30.0, "lpips": 0.1}
    sets = [
        SetResult(SetInfo("Rain100L", "RS"), figures, 100, 100),
        SetResult(SetInfo("Test2800", "RS"), {"psnr": 20.0, "lpips": 0.3}, 2800, 2800),
        SetResult(SetInfo("SOTS", "H"), {"psnr": 35.0}, 500, 500),
        SetResult(SetInfo("Kodak24", "GN", 25), {"psnr": 10.0}, 24, 24),  # of Table III
        SetResult(SetInfo("UDC poled", None), {"psnr": 10.0}, 30, 30),
    ]
    table_row = table_rows(all_tables("12d", tmp_path), sets, model="mine")[-1]
    assert table_row.figures == {"12D": {"psnr": 30.0, "lpips": pytest.approx(0.2)}}
    assert table_row.beside == "Restormer+MoE+MaskDCPT"


def test_other_presets_have_no_table():
    assert tables("tiny", []) == tables("my.yaml", []) == []
