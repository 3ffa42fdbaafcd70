"""From files to scenes that can be compared: the results of several methods, paired by name."""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from maskdcpt_cli.comparison.grid import Panel, Scene, Score, pixel_difference
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.images.reading import preview, shown
from maskdcpt_cli.scoring.events import Item
from maskdcpt_cli.scoring.metrics import Metric, find_metrics
from maskdcpt_cli.scoring.pairing import pair_files
from maskdcpt_cli.scoring.scorer import Scorer

INPUT, TRUTH = "Input", "Ground truth"


class SceneFiles(NamedTuple):
    """The files of one scene."""

    name: str
    lq: Path
    results: tuple[Path, ...]
    gt: Path | None


class ScenePairing(NamedTuple):
    """The scenes of which every file is there, and a sentence on each of the others."""

    scenes: tuple[SceneFiles, ...]
    missing: tuple[str, ...]


class SceneDifference(NamedTuple):
    """A scene that was looked at: how far its results lie apart, or why that is not known."""

    files: SceneFiles
    difference: float  # mean over pixels and colours, of 255
    problem: str = ""


def find_scenes(
    results: Sequence[Path], lq: Path, gt: Path | None, *, pair_by: str = "auto"
) -> ScenePairing:
    """The inputs, and of each the results and the ground truth, found as `maskdcpt score` does.

    Args:
        pair_by: how the ground truth is found; results are found by path, then by stem.

    Raises MaskDCPTError where a place does not exist, or holds nothing for any input.
    """
    partners = [_partners(lq, place, "auto") for place in results]
    truths = _partners(lq, gt, pair_by) if gt else {}
    scenes: list[SceneFiles] = []
    missing: list[str] = []
    for item in pair_files(lq, None).items:
        path = Path(item.name)
        lacking = [place for place, of in zip(results, partners, strict=True) if path not in of]
        lacking += [gt] if gt and path not in truths else []
        if lacking:
            places = " and ".join(f"'{shown(place)}'" for place in lacking)
            missing.append(f"{shown(path)} has no partner in {places}.")
        else:
            scene = SceneFiles(
                path.stem, _file(lq, path), tuple(of[path] for of in partners), truths.get(path)
            )
            scenes.append(scene)
    return ScenePairing(tuple(scenes), tuple(missing))


def measure_differences(scenes: Sequence[SceneFiles]) -> Generator[SceneDifference, None, None]:
    """Yield for each scene how far its results lie apart; a lone result, from the input."""
    for files in scenes:
        try:
            panels = _panels(files)
        except ImageError as error:
            yield SceneDifference(files, 0.0, str(error))
            continue
        results = panels[1 : 1 + len(files.results)]
        images = [panel.pixels for panel in (results if len(results) > 1 else panels[:2])]
        yield SceneDifference(files, float(pixel_difference(images).mean()) / 3)


def open_scenes(
    scenes: Sequence[SceneFiles], labels: Sequence[str], *, metrics: Sequence[str]
) -> Generator[Scene, None, None]:
    """Yield each scene with its images and, where there is a ground truth, their scores.

    Raises ImageError where a file cannot be read, or is of another size than the input, and
    MaskDCPTError where a metric cannot be measured.
    """
    known = find_metrics(metrics, with_gt=True)
    scorer = Scorer(metrics) if any(files.gt for files in scenes) else None
    for files in scenes:
        scores = _scores(scorer, files, known) if scorer and files.gt else None
        named = [INPUT, *labels, TRUTH]
        panels = [
            panel._replace(label=label, scores=scores[place] if scores else ())
            for place, (panel, label) in enumerate(zip(_panels(files), named, strict=False))
        ]
        gt = panels[-1] if files.gt else None
        yield Scene(files.name, panels[0], tuple(panels[1 : 1 + len(labels)]), gt)


def _partners(lq: Path, place: Path, pair_by: str) -> dict[Path, Path]:
    """The image in a place that belongs to each input, by the input's name."""
    paired = pair_files(lq, place, by=pair_by).items
    if not paired:
        raise MaskDCPTError(f"Nothing in '{shown(place)}' has the name of an image in {lq}.")
    return {Path(item.name): item.gt for item in paired if isinstance(item.gt, Path)}


def _file(place: Path, name: Path) -> Path:
    return place / name if place.is_dir() else place


def _panels(files: SceneFiles) -> list[Panel]:
    """Input, results and ground truth, upright, in sRGB, labels yet missing."""
    paths = [files.lq, *files.results, *([files.gt] if files.gt else [])]
    panels = [Panel("", preview(path, max_side=None)) for path in paths]
    for path, panel in zip(paths, panels, strict=True):
        if panel.pixels.shape != panels[0].pixels.shape:
            sizes = [f"{p.pixels.shape[1]}x{p.pixels.shape[0]}" for p in (panel, panels[0])]
            raise ImageError(
                f"{shown(path)} is {sizes[0]} pixels, but the input {shown(files.lq)} {sizes[1]}: "
                "only images of one size can be compared."
            )
    return panels


def _scores(
    scorer: Scorer, files: SceneFiles, metrics: Mapping[str, Metric]
) -> list[tuple[Score, ...]]:
    """The scores of the input and each result, and for the ground truth what they are."""
    items = [Item(str(path), path, files.gt) for path in (files.lq, *files.results)]
    scored = list(scorer.score(items))
    for one in scored:
        problems = [one.problem, *one.failed.values(), *(u.reason for u in scorer.unavailable)]
        if problem := next(filter(None, problems), None):
            raise MaskDCPTError(problem)
    best = {
        name: max(metric.goodness(one.values[name]) for one in scored[1:])
        for name, metric in metrics.items()
    }
    scores = [
        tuple(
            Score(
                f"{one.values[name]:.{metric.digits}f}",
                best=place > 0 and metric.goodness(one.values[name]) == best[name],
            )
            for name, metric in metrics.items()
        )
        for place, one in enumerate(scored)
    ]
    return [*scores, tuple(Score(_title(name, metric)) for name, metric in metrics.items())]


def _title(name: str, metric: Metric) -> str:
    return f"{name.upper()} ({metric.unit})" if metric.unit else name.upper()
