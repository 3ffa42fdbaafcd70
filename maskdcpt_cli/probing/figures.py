"""Figures of a study, drawn with matplotlib."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from maskdcpt_cli.degradations import slug
from maskdcpt_cli.files import written
from maskdcpt_cli.probing.neighbours import KnnResult
from maskdcpt_cli.probing.tsne import Embedding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3  # panels in a row
# Colours for colour-blind readers (Okabe and Ito, 2008); repeated colours have another marker.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "^")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


class EmbeddingPanel(NamedTuple):
    """Embedding of the images by one network."""

    title: str
    embedding: Embedding
    degradations: tuple[str, ...]  # abbreviations, of each image


class AccuracyCurve(NamedTuple):
    """Accuracy of one network against mask ratio in %, or of one training against iteration."""

    title: str
    x: tuple[float, ...]
    results: tuple[KnnResult, ...]


def draw_embeddings(panels: Sequence[EmbeddingPanel], path: Path) -> None:
    """Draw a panel for each network; raises MaskDCPTError if the file cannot be written."""
    with _figure(path, panels=len(panels), side=3.4) as (figure, axes):
        for axis, panel in zip(axes, panels, strict=True):
            _scatter(axis, panel)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)


def draw_confusions(titled: Sequence[tuple[str, KnnResult]], path: Path) -> None:
    """Draw the confusion matrix of each network; raises as draw_embeddings."""
    side = 2.2 + 0.3 * len(titled[0][1].degradations)
    with _figure(path, panels=len(titled), side=side) as (_, axes):
        for axis, (title, classified) in zip(axes, titled, strict=True):
            _confusion(axis, title, classified)


def draw_curves(curves: Sequence[AccuracyCurve], path: Path, *, xlabel: str, chance: float) -> None:
    """Draw accuracy with its spread over seeds; raises as draw_embeddings."""
    with _figure(path, panels=1, side=4.2) as (_, (axis,)):
        for number, curve in enumerate(curves):
            mean = 100 * np.array([one.accuracy for one in curve.results])
            spread = 100 * np.array([one.spread for one in curve.results])
            colour = COLOURS[number % len(COLOURS)]
            axis.fill_between(curve.x, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
            axis.plot(curve.x, mean, color=colour, marker="o", ms=4, label=curve.title)
        axis.axhline(100 * chance, color="0.5", lw=0.8, ls=":", label="chance")
        axis.set(xlabel=xlabel, ylabel="5-NN accuracy, %", ylim=(0, 100))
        axis.legend(frameon=False)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)


def _scatter(axis: "Axes", panel: EmbeddingPanel) -> None:
    degradations = np.array(panel.degradations)
    for number, degradation in enumerate(dict.fromkeys(panel.degradations)):
        x, y = panel.embedding[degradations == degradation].T
        colour, marker = (
            COLOURS[number % len(COLOURS)],
            MARKERS[number // len(COLOURS) % len(MARKERS)],
        )
        label = slug(degradation)
        axis.scatter(x, y, s=11, color=colour, marker=marker, alpha=0.8, lw=0, label=label)
    axis.set(title=panel.title, xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axis.spines[:].set_color("0.8")


def _confusion(axis: "Axes", title: str, classified: KnnResult) -> None:
    fractions = 100 * classified.confusion / classified.confusion.sum(axis=1, keepdims=True)
    axis.imshow(fractions, cmap="Blues", vmin=0, vmax=100)
    for (row, column), fraction in np.ndenumerate(fractions):
        colour = "white" if fraction > 55 else "black"
        axis.text(
            column, row, f"{fraction:.0f}", ha="center", va="center", color=colour, fontsize=8
        )
    slugs = [slug(degradation) for degradation in classified.degradations]
    ticks = range(len(slugs))
    axis.set_xticks(ticks, slugs, rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(ticks, slugs)
    axis.set(title=title, xlabel="predicted, %", ylabel="true")
    axis.tick_params(length=0)


@contextmanager
def _figure(path: Path, *, panels: int, side: float) -> "Iterator[tuple[Figure, list[Axes]]]":
    """Yield a figure, then write it; `side` of a panel is in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    columns = min(panels, COLUMNS)
    rows = -(-panels // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(side * columns + 0.3, side * rows + 0.5), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for spare in axes[panels:]:
            spare.remove()
        yield figure, axes[:panels]
        with written(path) as file:
            figure.savefig(file, format=path.suffix[1:].lower(), dpi=200)
