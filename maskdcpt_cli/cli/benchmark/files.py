"""Files of a benchmark: tables as Markdown and CSV, and the page."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from maskdcpt_cli.benchmarking.result_cache import FILE as RESULTS
from maskdcpt_cli.benchmarking.test_sets import title
from maskdcpt_cli.cli.benchmark.page import write_benchmark
from maskdcpt_cli.cli.benchmark.tables import (
    PARTIAL,
    TEXT_HEADS,
    BenchmarkReport,
    CellRow,
    blocks,
    facts,
    measured_lines,
    remarks,
)
from maskdcpt_cli.cli.csv_file import write_csv
from maskdcpt_cli.cli.page import is_page
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import check_inside, shown, written

FILES = ("table.md", "table.csv", "index.html")
CSV_HEADS = ("table", "method", "column", "metric", "figure", "partial")


def check_folder(folder: Path) -> None:
    """Raise MaskDCPTError where a file would be replaced that is not of an earlier benchmark."""
    known = (folder / RESULTS).exists() or is_page(folder / "index.html", "benchmark")
    for name in FILES:
        if not known and (folder / name).exists():
            raise MaskDCPTError(
                f"'{shown(folder / name)}' is not of a benchmark in this folder, and would be "
                "replaced: choose another folder with -o."
            )


def write_files(folder: Path, report: BenchmarkReport) -> list[Path]:
    """Write all files, each atomically, and return their paths.

    Raises:
        MaskDCPTError: A file cannot be written.
    """
    markdown, table, page = (folder / name for name in FILES)
    for path in (markdown, table, page):
        check_inside(path, folder)
    with written(markdown) as file:
        file.writelines(f"{shown(line)}\n".encode() for line in _markdown(report))
    write_csv(table, _rows(report))
    write_benchmark(page, report)
    return [markdown, table, page]


def _markdown(report: BenchmarkReport) -> Iterator[str]:
    yield f"# {report.title}"
    yield ""
    yield from (f"- {word}: {fact}" for word, fact in facts(report).items())
    heads, rows = measured_lines([one.result for one in report.finished])
    if rows:
        yield from (
            "",
            "## Measured",
            "",
            *_markdown_table(heads, rows, left=sum(head in TEXT_HEADS for head in heads)),
        )
        yield from (line for note in report.notes for line in ("", note))
    for table_row in report.measured_rows:
        yield from ("", f"## {table_row.table.title}: {table_row.table.caption}")
        for block in blocks(table_row, model=report.model):
            yield from ("", f"### {block.title}", "")
            rows = [(_emphasised(line.name, line), *_cells(line)) for line in block.lines]
            yield from _markdown_table(("", *block.full_heads), rows, left=1)
        yield from ("", *remarks(table_row))
    missing = [one for one in report.finished if one.reason]
    if missing:
        yield from ("", "## Not measured", "")
        yield from (f"- {title(one.result.info)}: {one.reason}" for one in missing)


def _markdown_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int
) -> Iterator[str]:
    marks = ["---" if index < left else "---:" for index in range(len(heads))]
    for cells in (heads, marks, *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _cells(line: CellRow) -> Iterator[str]:
    return (_emphasised(cell, line) for cell in line.cells)


def _emphasised(text: str, line: CellRow) -> str:
    return f"**{text.replace(PARTIAL, chr(92) + PARTIAL)}**" if line.role == "ours" else text


def _rows(report: BenchmarkReport) -> Iterator[Sequence[object]]:
    """Yield one figure a row, for spreadsheets and data frames; measured ones with 6 digits."""
    yield CSV_HEADS
    for one in report.finished:
        info = title(one.result.info)
        for metric, value in one.result.figures.items():
            partial = not one.result.complete
            yield "measured", report.model, info, metric, f"{value:.6g}", int(partial)
    for table_row in report.measured_rows:
        name = table_row.table.title
        for method, columns in table_row.table.rows.items():
            for column in table_row.table.columns:
                for metric, value in columns.get(column.key, {}).items():
                    yield name, method, column.key, metric, value, 0
        for key, figures in table_row.figures.items():
            for metric, value in figures.items():
                partial = key in table_row.partial
                yield name, report.model, key, metric, f"{value:.6g}", int(partial)
