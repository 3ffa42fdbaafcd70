"""Page of `benchmark`: the tables, what is missing, and example crops."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from maskdcpt_cli.benchmarking.examples import PARTS
from maskdcpt_cli.benchmarking.table_rows import TableRow
from maskdcpt_cli.benchmarking.test_sets import title
from maskdcpt_cli.cli.benchmark.tables import (
    TEXT_HEADS,
    BenchmarkReport,
    Block,
    CellRow,
    better,
    blocks,
    facts,
    measured_lines,
    remarks,
    with_name,
)
from maskdcpt_cli.cli.console import count
from maskdcpt_cli.cli.page import data_uri, write_page
from maskdcpt_cli.images.arrays import Pixels
from maskdcpt_cli.images.reader import PhotoReader


class PageRow(NamedTuple):
    """Row of a table; each cell is a text and the class of its colour."""

    name: str
    role: str
    cells: tuple[tuple[str, str], ...]


class PageBlock(NamedTuple):
    """Table of one metric."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[PageRow, ...]


class PageTable(NamedTuple):
    """Table of the paper with the measured row, one block for each metric."""

    caption: str
    blocks: tuple[PageBlock, ...]
    remarks: tuple[str, ...]


class PageExample(NamedTuple):
    """Crops of one image."""

    test_set: str
    text: str
    images: tuple[tuple[str, str], ...]  # title and data URI


def write_benchmark(path: Path, report: BenchmarkReport) -> None:
    """Write the page atomically.

    Raises:
        MaskDCPTError: The file cannot be written.
    """
    missing = [(title(one.result.info), one.reason) for one in report.finished if one.reason]
    heads, measured = measured_lines([one.result for one in report.finished])
    with PhotoReader() as reader:
        write_page(
            path,
            "benchmark",
            title=report.title,
            facts=facts(report),
            missing=missing,
            missing_count=count(len(missing), "test set"),
            paper_tables=[_paper_table(row, report.model) for row in report.measured_rows],
            heads=heads,
            text_columns=sum(head in TEXT_HEADS for head in heads),
            measured=measured,
            notes=report.notes,
            has_examples=any(report.examples.values()),
            examples=_examples(report, reader),
        )


def _paper_table(table_row: TableRow, model: str) -> PageTable:
    table = table_row.table
    return PageTable(
        f"{table.title}: {table.caption}",
        tuple(_page_block(block) for block in blocks(table_row, model=model)),
        tuple(remarks(table_row)),
    )


def _page_block(block: Block) -> PageBlock:
    rows = tuple(
        PageRow(
            line.name,
            line.role,
            tuple((cell, _hue(line, cell, block.metric)) for cell in line.cells),
        )
        for line in block.lines
    )
    return PageBlock(block.title, block.full_heads, rows)


def _hue(line: CellRow, cell: str, metric: str) -> str:
    if line.role != "difference" or cell[:1] not in "+-" or not float(cell):
        return ""
    return "better" if better(metric, float(cell)) else "worse"


def _examples(report: BenchmarkReport, reader: PhotoReader) -> Iterator[PageExample]:
    for name, shown in report.examples.items():
        for example, values in shown:
            figures = ", ".join(with_name(metric, value) for metric, value in values.items())
            crops = [_crop(reader.preview(file, max_side=None)) for file in example.files]
            images = zip(PARTS, crops, strict=False)
            yield PageExample(name, ", ".join(filter(None, (example.name, figures))), tuple(images))


def _crop(pixels: Pixels) -> str:
    """Encode a crop as lossy WebP: lossless would be three times as large."""
    return data_uri(Image.fromarray(pixels), format="webp", quality=92)
