"""What is seen of a study: a table with the paper's figures beside ours, CSV and JSON."""

import csv
import io
import json as jsonlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from maskdcpt_cli.degradations import SETTINGS, slug
from maskdcpt_cli.files import written
from maskdcpt_cli.probing.figures import Curve, Panel
from maskdcpt_cli.probing.images import Picture
from maskdcpt_cli.probing.neighbours import NEIGHBOURS, SEEDS, Classified
from maskdcpt_cli.probing.probed_models import Published, Subject

# What a network was trained for, as the table says it.
TRAININGS = {"random": "random", "restoration": "restoring", "pre-training": "pre-trained"}
AS_PUBLISHED = 128  # side of the paper's pictures


class Row(NamedTuple):
    """A network's features, as its neighbours classify them."""

    subject: Subject
    mask_ratio: float | None  # None where hiding is not what is studied
    result: Classified

    @property
    def title(self) -> str:
        accuracy = f"5-NN {100 * self.result.accuracy:.1f} %"
        return f"{name(self.subject)}: {accuracy}"


def name(subject: Subject) -> str:
    """A network and how far it was trained."""
    weights = "random weights" if subject.training == "random" else TRAININGS[subject.training]
    return f"{subject.name}, {weights}"


def curves(rows: Sequence[Row]) -> list[Curve]:
    """The rows of each network as one curve."""
    grouped = (list(some) for _, some in groupby(rows, key=lambda row: id(row.subject)))
    return [
        Curve(
            name(some[0].subject),
            tuple(row.mask_ratio or 0.0 for row in some),
            tuple(row.result for row in some),
        )
        for some in grouped
    ]


def show_rows(rows: Sequence[Row], pictures: Sequence[Picture], *, size: int, json: bool) -> None:
    """Print what was found: a table, or JSON, on standard output."""
    counts = Counter(picture.degradation for picture in pictures)
    if json:
        found = {
            "neighbours": NEIGHBOURS,
            "seeds": SEEDS,
            "size": size,
            "pictures": {slug(kind): number for kind, number in counts.items()},
            "networks": [_facts(row, _published(row, counts, size)) for row in rows],
        }
        click.echo(jsonlib.dumps(found, indent=2))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a line a network, for grep
    console.print(_table(rows, counts, size=size))
    console.print(_legend(rows, counts, size=size), style="dim", soft_wrap=True)


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """A line for each row; MaskDCPTError where the file cannot be written."""
    lines = []
    for row in rows:
        facts = _facts(row, None)
        recall = {f"recall of {slug}": share for slug, share in row.result.recall.items()}
        lines.append({key: facts[key] for key in FIGURES if key in facts} | recall)
    _write(lines, path)


def write_places(panels: Iterable[Panel], pictures: Sequence[Picture], path: Path) -> None:
    """A line for each picture and network; raises as write_csv."""
    _write(
        [
            {
                "network": panel.title,
                "picture": picture.scene,
                "degradation": slug(picture.degradation),
                "x": f"{x:.4f}",
                "y": f"{y:.4f}",
            }
            for panel in panels
            for picture, (x, y) in zip(pictures, panel.places, strict=True)
        ],
        path,
    )


FIGURES = ("network", "backbone", "weights", "mask_ratio", "accuracy", "spread")


def _facts(row: Row, published: Published | None) -> dict[str, object]:
    result = row.result
    facts: dict[str, object] = {
        "network": row.subject.name,
        "backbone": row.subject.backbone,
        "weights": row.subject.training,
        "accuracy": result.accuracy,
        "spread": result.spread,
        "accuracies": result.accuracies,
        "recall": {slug(kind): share for kind, share in result.recall.items()},
        "confusion": result.confusion.tolist(),
        "paper": published._asdict() if published else None,
    }
    return facts if row.mask_ratio is None else {**facts, "mask_ratio": row.mask_ratio}


def _published(row: Row, counts: Counter[str], size: int) -> Published | None:
    """The paper's figure, where what it says is what was asked: 5D at its size, nothing hidden."""
    same = set(counts) == set(SETTINGS["5d"]) and size == AS_PUBLISHED
    return row.subject.published if same and not row.mask_ratio else None


def _table(rows: Sequence[Row], counts: Counter[str], *, size: int) -> Table:
    masked = any(row.mask_ratio is not None for row in rows)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("Network")
    table.add_column("Weights", no_wrap=True)
    if masked:
        table.add_column("Hidden", no_wrap=True, justify="right")
    table.add_column("5-NN, %", no_wrap=True, justify="right")
    table.add_column("Paper", no_wrap=True, justify="right")
    for kind in counts:
        table.add_column(kind, no_wrap=True, justify="right")
    for row in rows:
        result, published = row.result, _published(row, counts, size)
        table.add_row(
            row.subject.name,
            TRAININGS[row.subject.training],
            *([f"{100 * (row.mask_ratio or 0):g} %"] if masked else []),
            f"{100 * result.accuracy:.1f} ± {100 * result.spread:.1f}",
            published.told if published else "",
            *(f"{100 * result.recall[kind]:.0f}" for kind in counts),
        )
    return table


def _legend(rows: Sequence[Row], counts: Counter[str], *, size: int) -> str:
    numbers = sorted(set(counts.values()))
    each = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    kinds = ", ".join(f"{kind} {slug(kind)}" for kind in counts)
    lines = [
        f"Mean and standard deviation over {len(SEEDS)} splits (2:1) of {each} pictures of each "
        f"degradation, {size}x{size} pixels; chance is {100 / len(counts):.0f} %.",
        f"Right of it, the share of each that is known, in %: {kinds}.",
    ]
    places = {p.place: None for row in rows if (p := _published(row, counts, size))}
    if places:
        lines.append(f"Paper: {'; '.join(places)}; its pictures are of public data sets.")
    return "\n".join(lines)


def _write(lines: Sequence[dict[str, object]], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    with written(path) as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))
