"""Output of a study: a table with the paper's figures, CSV and JSON."""

import json as jsonlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import click
from rich.table import Table

from maskdcpt_cli.cli.console import data_console, plain_table
from maskdcpt_cli.cli.csv_file import write_csv as write_rows
from maskdcpt_cli.cli.study.options import ProbeOptions
from maskdcpt_cli.degradations import SETTINGS, slug
from maskdcpt_cli.files import shown
from maskdcpt_cli.probing.figures import AccuracyCurve, EmbeddingPanel, draw_curves
from maskdcpt_cli.probing.images import ProbeImage
from maskdcpt_cli.probing.neighbours import NEIGHBOURS, SEEDS, KnnResult
from maskdcpt_cli.probing.probed_models import PaperFigure, ProbedModel

# Names of the trainings in the table.
TRAINING_NAMES = {"random": "random", "restoration": "restoration", "pre-training": "pre-trained"}
PAPER_SIZE = 128  # side of the paper's images


class StudyRow(NamedTuple):
    """k-NN result of one network, and of one mask ratio."""

    model: ProbedModel
    mask_ratio: float | None  # None if the study has no masks
    result: KnnResult

    @property
    def title(self) -> str:
        """Title of a figure: network and accuracy."""
        accuracy = f"5-NN {100 * self.result.accuracy:.1f} %"
        return f"{model_name(self.model)}: {accuracy}"


def model_name(model: ProbedModel) -> str:
    """Return the name of a network and its training."""
    weights = "random weights" if model.training == "random" else TRAINING_NAMES[model.training]
    return f"{model.name}, {weights}"


def mask_curves(rows: Sequence[StudyRow]) -> list[AccuracyCurve]:
    """Return one curve for each network, against mask ratio."""
    grouped = (list(some) for _, some in groupby(rows, key=lambda row: id(row.model)))
    return [
        AccuracyCurve(
            model_name(some[0].model),
            tuple(100 * (row.mask_ratio or 0.0) for row in some),
            tuple(row.result for row in some),
        )
        for some in grouped
    ]


def training_curves(rows: Sequence[StudyRow]) -> list[AccuracyCurve]:
    """Return one curve for each training, against iteration."""
    grouped = ((name, list(some)) for name, some in groupby(rows, key=lambda row: row.model.name))
    return [
        AccuracyCurve(
            shown(name),
            tuple(row.model.iteration or 0 for row in some),
            tuple(row.result for row in some),
        )
        for name, some in grouped
    ]


def chance(images: Sequence[ProbeImage]) -> float:
    """Return the accuracy of guesses, 0 to 1."""
    return 1 / len({image.degradation for image in images})


def show_curves(
    rows: Sequence[StudyRow],
    curves: Sequence[AccuracyCurve],
    images: Sequence[ProbeImage],
    options: ProbeOptions,
    *,
    xlabel: str,
) -> None:
    """Draw the curves into the file of --output, if it is given; then as `show_study`."""
    if options.output:
        draw_curves(curves, options.output, xlabel=xlabel, chance=chance(images))
    show_study(rows, images, options)


def show_study(
    rows: Sequence[StudyRow], images: Sequence[ProbeImage], options: ProbeOptions
) -> None:
    """Print the results, and write the file of --csv, if it is given."""
    if options.csv:
        write_csv(rows, options.csv)
    show_rows(rows, images, size=options.size, json=options.json)


def show_rows(
    rows: Sequence[StudyRow], images: Sequence[ProbeImage], *, size: int, json: bool
) -> None:
    """Print the results on standard output, as a table or as JSON."""
    counts = Counter(image.degradation for image in images)
    if json:
        found = {
            "neighbours": NEIGHBOURS,
            "seeds": SEEDS,
            "size": size,
            "images": {slug(degradation): number for degradation, number in counts.items()},
            "networks": [_facts(row, _paper_figure(row, counts, size)) for row in rows],
        }
        click.echo(jsonlib.dumps(found, indent=2))
        return
    console = data_console()
    console.print(_table(rows, counts, size=size))
    console.print(_legend(rows, counts, size=size), style="dim", soft_wrap=True)


def write_csv(rows: Iterable[StudyRow], path: Path) -> None:
    """Write a line for each row; raises MaskDCPTError if the file cannot be written."""
    lines = []
    for row in rows:
        facts = _facts(row, None)
        recall = {f"recall of {slug}": fraction for slug, fraction in row.result.recall.items()}
        lines.append({key: facts[key] for key in CSV_FIGURES if key in facts} | recall)
    _write(lines, path)


def write_embedding(
    panels: Iterable[EmbeddingPanel], images: Sequence[ProbeImage], path: Path
) -> None:
    """Write the coordinates of each image and network; raises as write_csv."""
    _write(
        [
            {
                "network": panel.title,
                "image": image.scene,
                "degradation": slug(image.degradation),
                "x": f"{x:.4f}",
                "y": f"{y:.4f}",
            }
            for panel in panels
            for image, (x, y) in zip(images, panel.embedding, strict=True)
        ],
        path,
    )


CSV_FIGURES = ("network", "backbone", "weights", "iteration", "mask_ratio", "accuracy", "spread")


def _facts(row: StudyRow, paper_figure: PaperFigure | None) -> dict[str, object]:
    result = row.result
    facts: dict[str, object] = {
        "network": row.model.name,
        "backbone": row.model.backbone,
        "weights": row.model.training,
        "accuracy": result.accuracy,
        "spread": result.spread,
        "accuracies": result.accuracies,
        "recall": {slug(degradation): fraction for degradation, fraction in result.recall.items()},
        "confusion": result.confusion.tolist(),
        "paper": _paper_json(paper_figure) if paper_figure else None,
    }
    columns = {"mask_ratio": row.mask_ratio, "iteration": row.model.iteration}
    return facts | {name: value for name, value in columns.items() if value is not None}


def _paper_json(figure: PaperFigure) -> dict[str, str]:
    return {"value": figure.value, "source": figure.source}


def _paper_figure(row: StudyRow, counts: Counter[str], size: int) -> PaperFigure | None:
    """Return the paper's figure if the settings equal its own: 5D, the same size, no mask."""
    same = set(counts) == set(SETTINGS["5d"]) and size == PAPER_SIZE
    return row.model.paper_figure if same and not row.mask_ratio else None


def _table(rows: Sequence[StudyRow], counts: Counter[str], *, size: int) -> Table:
    masked = any(row.mask_ratio is not None for row in rows)
    trained = any(row.model.iteration is not None for row in rows)
    columns = (*(["Iteration"] if trained else []), *(["Masked"] if masked else []))
    figures = (*columns, "5-NN, %", "Paper", *counts)
    table = plain_table("Network", "Weights", *figures, right=figures, wraps={"Network"})
    for row in rows:
        result, paper_figure = row.result, _paper_figure(row, counts, size)
        table.add_row(
            shown(row.model.name),
            TRAINING_NAMES[row.model.training],
            *([f"{row.model.iteration}"] if trained else []),
            *([f"{100 * (row.mask_ratio or 0):g} %"] if masked else []),
            f"{100 * result.accuracy:.1f} ± {100 * result.spread:.1f}",
            paper_figure.value if paper_figure else "",
            *(f"{100 * result.recall[degradation]:.0f}" for degradation in counts),
        )
    return table


def _legend(rows: Sequence[StudyRow], counts: Counter[str], *, size: int) -> str:
    numbers = sorted(set(counts.values()))
    each = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    degradations = ", ".join(f"{degradation} {slug(degradation)}" for degradation in counts)
    lines = [
        f"Mean and standard deviation over {len(SEEDS)} splits (2:1) of {each} images of each "
        f"degradation, {size}x{size} pixels; chance is {100 / len(counts):.0f} %.",
        f"Right columns: recall of each degradation in %: {degradations}.",
    ]
    sources = {p.source: None for row in rows if (p := _paper_figure(row, counts, size))}
    if sources:
        lines.append(f"Paper: {'; '.join(sources)}; its images are from public data sets.")
    return "\n".join(lines)


def _write(lines: Sequence[dict[str, object]], path: Path) -> None:
    heads = list(lines[0])
    write_rows(path, [heads, *([line[head] for head in heads] for line in lines)])
