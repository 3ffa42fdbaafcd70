"""Losses and scores over a run, drawn from its log."""

from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from maskdcpt_cli.files import replacing
from maskdcpt_cli.training.log import read_log

Curve = list[tuple[int, float]]  # iterations and values
POINTS = 500  # of a curve, each the mean of the values between it and the next


def plot(log: Path, target: Path) -> None:
    """Draw a log, losses and each metric in a panel of its own, where matplotlib is installed."""
    panels = read_panels(log)
    if not panels or not find_spec("matplotlib"):
        return
    from matplotlib.figure import Figure  # noqa: PLC0415  # slow, and optional

    figure = Figure(figsize=(9, 3 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for name, curve in curves.items():
            iterations, values = zip(*_thinned(curve), strict=True)
            axis.plot(iterations, values, label=name, marker="." if len(curve) < 30 else "")
        axis.set_ylabel(title)
        axis.legend(fontsize="small", ncols=4)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("iteration")
    with replacing(target) as file:
        figure.savefig(file, format="png", dpi=120)


def read_panels(log: Path) -> dict[str, dict[str, Curve]]:
    """The curves of a log, by what they show: "loss", "training accuracy", and each metric."""
    panels: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    for line in read_log(log):
        for panel, name, value in _values(line):
            panels[panel][name].append((line["iteration"], value))
    return panels


def _values(line: dict[str, Any]) -> list[tuple[str, str, float]]:
    values = [("loss", name, loss) for name, loss in line.get("losses", {}).items()]
    if line.get("accuracy") is not None:
        values.append(("training accuracy", "all", line["accuracy"]))
    for degradation, scores in line.get("scores", {}).items():
        values += [(metric, degradation, score) for metric, score in scores.items()]
    return values


def _thinned(curve: Curve) -> Curve:
    size = -(-len(curve) // POINTS)
    groups = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
