"""Scenes from files: the results of several methods, paired by name."""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from maskdcpt_cli.comparison.grid import Panel, Scene, Score, pixel_difference
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.files import shown
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.images.reader import PhotoReader, reading_by
from maskdcpt_cli.scoring.events import Item
from maskdcpt_cli.scoring.metrics import Metric, find_metrics
from maskdcpt_cli.scoring.pairing import pair_files
from maskdcpt_cli.scoring.scorer import Scorer

INPUT, TRUTH = "Input", "Ground truth"


class SceneFiles(NamedTuple):
    """Files of one scene."""

    name: str
    lq: Path
    results: tuple[Path, ...]
    gt: Path | None


class ScenePairing(NamedTuple):
    """Complete scenes, and a sentence on each incomplete one."""

    scenes: tuple[SceneFiles, ...]
    missing: tuple[str, ...]


class SceneDifference(NamedTuple):
    """Difference between the results of a scene, or the problem with its files."""

    files: SceneFiles
    difference: float  # mean over pixels and channels, 0 to 255
    problem: str = ""


def find_scenes(
    results: Sequence[Path], lq: Path, gt: Path | None, *, pair_by: str = "auto"
) -> ScenePairing:
    """Find the results and the ground truth of each input, as `maskdcpt score` does.

    Args:
        results: Folder or file of each method.
        lq: Folder or file of the inputs.
        gt: Folder or file of the ground truths; None if there are none.
        pair_by: How the ground truth is found; results are found by path, then by stem.

    Raises:
        MaskDCPTError: If a path does not exist, or has nothing for any input.
    """
    partners = [_partners(lq, root, "auto") for root in results]
    truths = _partners(lq, gt, pair_by) if gt else {}
    scenes: list[SceneFiles] = []
    missing: list[str] = []
    for item in pair_files(lq, None).items:
        path = Path(item.name)
        incomplete = [root for root, of in zip(results, partners, strict=True) if path not in of]
        incomplete += [gt] if gt and path not in truths else []
        if incomplete:
            roots = " and ".join(f"'{shown(root)}'" for root in incomplete)
            missing.append(f"{shown(path)} has no partner in {roots}.")
        else:
            scene = SceneFiles(
                path.stem, _file(lq, path), tuple(of[path] for of in partners), truths.get(path)
            )
            scenes.append(scene)
    return ScenePairing(tuple(scenes), tuple(missing))


def measure_differences(
    scenes: Sequence[SceneFiles],
    *,
    max_pixels: int | None = MAX_PIXELS,
    reader: PhotoReader | None = None,
) -> Generator[SceneDifference, None, None]:
    """Yield the difference between the results of each scene; of one result, to the input.

    Files are read by `reader`; None opens one.
    """
    with reading_by(reader) as opened:
        for files in scenes:
            try:
                panels = _panels(files, opened, max_pixels)
            except ImageError as error:
                yield SceneDifference(files, 0.0, str(error))
                continue
            results = panels[1 : 1 + len(files.results)]
            images = [panel.pixels for panel in (results if len(results) > 1 else panels[:2])]
            yield SceneDifference(files, float(pixel_difference(images).mean()) / 3)


def open_scenes(
    scenes: Sequence[SceneFiles],
    labels: Sequence[str],
    *,
    metrics: Sequence[str],
    max_pixels: int | None = MAX_PIXELS,
    reader: PhotoReader | None = None,
) -> Generator[Scene, None, None]:
    """Yield each scene with its images and, if there is a ground truth, their scores.

    Files are read by `reader`; None opens one.

    Raises:
        ImageError: If a file cannot be read or differs in size from the input.
        MaskDCPTError: If a metric cannot be measured.
    """
    known = find_metrics(metrics, with_gt=True)
    if over_sets := [name for name, metric in known.items() if metric.over_set]:
        raise MaskDCPTError(f"{over_sets[0]} is of a set of images, not of one: leave it out.")
    with_gt = any(files.gt for files in scenes)
    named = [INPUT, *labels, TRUTH]
    with reading_by(reader) as opened:
        scorer = Scorer(metrics, max_pixels=max_pixels, reader=opened) if with_gt else None
        for files in scenes:
            scores = _scores(scorer, files, known) if scorer and files.gt else None
            panels = [
                panel._replace(label=label, scores=scores[index] if scores else ())
                for index, (panel, label) in enumerate(
                    zip(_panels(files, opened, max_pixels), named, strict=False)
                )
            ]
            gt = panels[-1] if files.gt else None
            yield Scene(files.name, panels[0], tuple(panels[1 : 1 + len(labels)]), gt)


def _partners(lq: Path, root: Path, pair_by: str) -> dict[Path, Path]:
    """Return the partner of each input below `root`, by the input's name."""
    paired = pair_files(lq, root, by=pair_by).items
    if not paired:
        raise MaskDCPTError(
            f"Nothing in '{shown(root)}' has the name of an image in '{shown(lq)}'."
        )
    return {Path(item.name): item.gt for item in paired if isinstance(item.gt, Path)}


def _file(root: Path, name: Path) -> Path:
    return root / name if root.is_dir() else root


def _panels(files: SceneFiles, reader: PhotoReader, max_pixels: int | None) -> list[Panel]:
    """Input, results and ground truth, upright, in sRGB, without labels."""
    paths = [files.lq, *files.results, *([files.gt] if files.gt else [])]
    panels = [
        Panel("", reader.preview(path, max_side=None, max_pixels=max_pixels)) for path in paths
    ]
    for path, panel in zip(paths, panels, strict=True):
        if panel.pixels.shape != panels[0].pixels.shape:
            sizes = [f"{p.pixels.shape[1]}x{p.pixels.shape[0]}" for p in (panel, panels[0])]
            raise ImageError(
                f"{shown(path)} is {sizes[0]} pixels, but the input {shown(files.lq)} {sizes[1]}: "
                "only images of equal size can be compared."
            )
    return panels


def _scores(
    scorer: Scorer, files: SceneFiles, metrics: Mapping[str, Metric]
) -> list[tuple[Score, ...]]:
    """Return the scores of the input and each result, and the names of the metrics for the GT."""
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
                best=index > 0 and metric.goodness(one.values[name]) == best[name],
            )
            for name, metric in metrics.items()
        )
        for index, one in enumerate(scored)
    ]
    return [*scores, tuple(Score(_title(name, metric)) for name, metric in metrics.items())]


def _title(name: str, metric: Metric) -> str:
    return f"{name.upper()} ({metric.unit})" if metric.unit else name.upper()
