"""Files of a benchmark: tables as Markdown and CSV, and a page with examples."""

import csv
import io
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from time import strftime

from PIL import Image

from maskdcpt_cli.benchmarking.examples import PARTS
from maskdcpt_cli.benchmarking.table_rows import TableRow
from maskdcpt_cli.benchmarking.test_sets import title
from maskdcpt_cli.cli.benchmark.tables import (
    PARTIAL,
    TEXT_HEADS,
    BenchmarkReport,
    Block,
    CellRow,
    better,
    blocks,
    measured_lines,
    metric_name,
    with_name,
)
from maskdcpt_cli.cli.console import count, printable
from maskdcpt_cli.cli.page import facts, inlined, template
from maskdcpt_cli.files import written

FIGURE = Template("""\
<figure><div class="parts">$parts</div>
<figcaption><b>$name</b> $text</figcaption></figure>
""")
PART = Template("""\
<div><img src="$image" alt="$part" loading="lazy"><span>$part</span></div>
""")
CSV_HEADS = ("table", "method", "column", "metric", "figure", "partial")


def write_files(folder: Path, report: BenchmarkReport) -> list[Path]:
    """Write all files, each atomically, and return their paths.

    Raises MaskDCPTError if a file cannot be written.
    """
    texts = {
        "table.md": "\n".join(_markdown(report)) + "\n",
        "table.csv": _csv(report),
        "index.html": _page(report),
    }
    paths = [folder / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        with written(path) as file:
            file.write(text.encode())
    return paths


def _markdown(report: BenchmarkReport) -> Iterator[str]:
    yield f"# {report.title}"
    yield ""
    yield from (f"- {word}: {fact}" for word, fact in _facts(report).items())
    heads, rows = measured_lines([one.result for one in report.closed])
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
            yield from _markdown_table(("", *_heads(block)), rows, left=1)
        yield from ("", *_remarks(table_row))
    missing = [one for one in report.closed if one.reason]
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


def _heads(block: Block) -> list[str]:
    return [
        f"{group} {head}".lstrip() for group, head in zip(block.groups, block.heads, strict=True)
    ]


def _remarks(table_row: TableRow) -> Iterator[str]:
    yield f"The difference is to the published row {table_row.beside}."
    if table_row.table.note:
        yield table_row.table.note
    yield from (f"{PARTIAL} {remark}" for remark in table_row.remarks)


def _csv(report: BenchmarkReport) -> str:
    """Return one figure a line, for spreadsheets and data frames; measured ones with 6 digits."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_HEADS)
    for one in report.closed:
        info = title(one.result.info)
        for metric, value in one.result.figures.items():
            partial = not one.result.complete
            writer.writerow(("measured", report.model, info, metric, f"{value:.6g}", int(partial)))
    for table_row in report.measured_rows:
        name = table_row.table.title
        for method, columns in table_row.table.rows.items():
            for column in table_row.table.columns:
                for metric, value in columns.get(column.key, {}).items():
                    writer.writerow((name, method, column.key, metric, value, 0))
        for key, figures in table_row.figures.items():
            for metric, value in figures.items():
                partial = key in table_row.partial
                writer.writerow((name, report.model, key, metric, f"{value:.6g}", int(partial)))
    return file.getvalue()


def _facts(report: BenchmarkReport) -> dict[str, str]:
    images = sum(one.result.images for one in report.closed)
    sets = sum(bool(one.result.figures) for one in report.closed)
    measured = f"{count(images, 'image')} of {count(sets, 'test set')}"
    return {**report.facts, "Measured": measured, "Date": strftime("%Y-%m-%d")}


def _page(report: BenchmarkReport) -> str:
    return template("benchmark").substitute(
        title=escape(printable(report.title)),
        facts=facts(_facts(report)),
        missing=_missing(report),
        tables="\n".join(_table_row(table_row, report.model) for table_row in report.measured_rows),
        measured=_measured(report),
        examples="\n".join(_examples(report)),
    )


def _missing(report: BenchmarkReport) -> str:
    items = [
        f"<li><b>{escape(printable(title(one.result.info)))}</b>: "
        f"{escape(printable(one.reason))}</li>"
        for one in report.closed
        if one.reason
    ]
    if not items:
        return ""
    joined = "\n".join(items)
    opened = "" if len(items) > 8 else " open"
    return (
        f'<details class="trouble"{opened}><summary>Not measured: '
        f"{count(len(items), 'test set')}</summary>\n<ul>\n{joined}\n</ul></details>"
    )


def _table_row(table_row: TableRow, model: str) -> str:
    tables = "\n".join(_block(table_row, block) for block in blocks(table_row, model=model))
    remarks = "".join(f"<p class=remark>{escape(printable(r))}</p>" for r in _remarks(table_row))
    caption = f"{table_row.table.title}: {table_row.table.caption}"
    return (
        f'<section>\n<h2>{escape(caption)}</h2>\n<div class="tables">\n{tables}\n</div>\n'
        f"{remarks}\n</section>"
    )


def _block(table_row: TableRow, block: Block) -> str:
    heads = "".join(f"<th>{escape(head)}</th>" for head in _heads(block))
    metric = next(m for m in table_row.metrics() if block.title.endswith(metric_name(m)))
    rows = "\n".join(
        f'<tr class="{line.role}"><th>{escape(printable(line.name))}</th>'
        + "".join(f"<td{_hue(line, cell, metric)}>{escape(cell)}</td>" for cell in line.cells)
        + "</tr>"
        for line in block.lines
    )
    return (
        f'<div class="scroll"><table>\n<caption>{escape(block.title)}</caption>\n'
        f"<thead><tr><th></th>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )


def _hue(line: CellRow, cell: str, metric: str) -> str:
    if line.role != "difference" or cell[:1] not in "+-" or not float(cell):
        return ""
    return ' class="better"' if better(metric, float(cell)) else ' class="worse"'


def _measured(report: BenchmarkReport) -> str:
    heads, rows = measured_lines([one.result for one in report.closed])
    if not rows:
        return ""
    classes = [" class=word" if head in TEXT_HEADS else "" for head in heads]
    head = "".join(
        f"<th{css}>{escape(text)}</th>" for css, text in zip(classes, heads, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(
            f"<td{css}>{escape(printable(cell))}</td>"
            for css, cell in zip(classes, cells, strict=True)
        )
        + "</tr>"
        for cells in rows
    )
    return (
        '<section>\n<h2>Measured figures</h2>\n<div class="scroll"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
        + "".join(f"<p class=remark>{escape(note)}</p>\n" for note in report.notes)
        + "</section>"
    )


def _examples(report: BenchmarkReport) -> Iterator[str]:
    if any(report.examples.values()):
        yield "<h2>Examples: crops where input and result differ most</h2>"
    yield '<div class="examples">'
    for name, shown in report.examples.items():
        for example, values in shown:
            parts = zip(PARTS, example.files, strict=False)
            figures = ", ".join(with_name(metric, value) for metric, value in values.items())
            yield FIGURE.substitute(
                parts="".join(PART.substitute(part=k, image=_inlined(file)) for k, file in parts),
                name=escape(printable(name)),
                text=escape(printable(", ".join(filter(None, (example.name, figures))))),
            )
    yield "</div>"


def _inlined(path: Path) -> str:
    """Encode a crop as lossy WebP: lossless would be three times as large."""
    return inlined(Image.open(path), format="webp", quality=92)
