"""The tables of the embedded model's card: PSNR against the input, and against a classical tool.

A request-conditioned network has a table for each way to ask it: for what is there, for what a
classifier finds (`--remove auto`), and for everything.

Measured by `maskdcpt benchmark`'s own code on the test sets of presets/data/embedded.yaml below a
folder of `python -m recipes.tiny.photographs`, and on pairs that exist already. What is done is not
done again, until the weights change.

    python -m recipes.tiny.card data/ --pairs LL dark/ bright/ --pairs H hazy/ clear/
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import click
import numpy as np

from benchmarks.measure import table
from maskdcpt_cli import load_classifier, load_model, restore
from maskdcpt_cli.benchmarking.result_cache import ResultCache
from maskdcpt_cli.benchmarking.run import BenchmarkSettings, ImageFailed, ImageScored, measure
from maskdcpt_cli.benchmarking.test_sets import from_preset, title
from maskdcpt_cli.data.sets import ImageSet, from_pairs
from maskdcpt_cli.degradations import CLEAN
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.networks import NetworkRestore, Restorer, identity, open_network
from maskdcpt_cli.inference.result_log import fingerprint
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.weights.building import DegradationClassifier
from maskdcpt_cli.weights.zoo import DEFAULT_CLASSIFIER
from recipes.tiny.classical import TOOLS, Tool

REGRESSION = 0.3  # dB below the input, of an image
GOOD = 42.0  # dB to its input, the goal of a clean image
REFUSED = "the network's output"  # begins the reasons of maskdcpt_cli.inference.output_check

Values = dict[str, float]  # PSNR in dB, by the name of the image


class Row(NamedTuple):
    """A test set and its PSNR before and after restoration."""

    title: str
    lq: Values
    restored: Values  # where the output was refused, as the photo stays then: of the input
    untouched: float  # fraction of images whose pixels are those of the input
    tool: Tool | None
    by_tool: float | None  # mean PSNR, at the best of its strengths

    @property
    def change(self) -> float:
        return _mean(self.restored) - _mean(self.lq)

    @property
    def regressions(self) -> float:
        """Return the fraction of images whose PSNR falls by more than REGRESSION."""
        return fmean(self.restored[name] < psnr - REGRESSION for name, psnr in self.lq.items())

    def cells(self) -> list[str]:
        changes = [self.restored[name] - psnr for name, psnr in self.lq.items()]
        tool = f"{self.by_tool:.2f} ({self.tool.name})" if self.tool and self.by_tool else ""
        return [
            self.title,
            f"{len(self.lq)}",
            f"{_mean(self.lq):.2f}",
            f"{_mean(self.restored):.2f}",
            f"{self.change:+.2f}",
            f"{median(changes):+.2f}",
            f"{min(changes):+.2f}",
            f"{self.regressions:.0%}",
            f"{self.untouched:.0%}",
            tool,
        ]


def _mean(values: Values) -> float:
    return fmean(values.values())


def measured(testset: ImageSet, network: Restorer, out: Path, *, limit: int | None) -> Values:
    """Return the PSNR of each image of a set, in the order of their names.

    Images whose output is refused are left out; any other failure raises ClickException.
    """
    settings = BenchmarkSettings(folder=out, metrics=("psnr",), limit=limit)
    cache = ResultCache(out, made_by=network.fingerprint)
    values: Values = {}
    for one in measure([testset], network.restore, settings, cache):
        if isinstance(one, ImageScored):
            values[one.name] = one.values["psnr"]
        elif isinstance(one, ImageFailed) and REFUSED not in one.reason:
            raise click.ClickException(f"{one.name}: {one.reason}")
    return dict(sorted(values.items()))


def with_tool(testset: ImageSet, tool: Tool, out: Path, *, limit: int | None) -> float:
    """Return the mean PSNR of a set after a classical tool, at its best strength."""
    means: list[float] = []
    for strength in tool.strengths:
        name = f"{tool.run.__name__}-{strength:g}"
        network = Restorer(lambda lq, s=strength: np.float32(tool.run(lq, s)), name, name)
        means.append(_mean(measured(testset, network, out / name, limit=limit)))
    return max(means)


def row(
    testset: ImageSet,
    network: Restorer,
    out: Path,
    *,
    limit: int | None,
    tools: bool,
) -> Row:
    tool = TOOLS.get(testset.degradation or "") if tools else None
    lq = measured(testset, identity(), out / "input", limit=limit)
    restored = lq | measured(testset, network, out / network.fingerprint, limit=limit)
    return Row(
        title(testset),
        dict.fromkeys(lq, GOOD) if testset.degradation == CLEAN else lq,
        restored,
        fmean(restored[name] == psnr for name, psnr in lq.items()),
        tool,
        with_tool(testset, tool, out / "classical", limit=limit) if tool else None,
    )


def ways(model: Backbone, classifier: DegradationClassifier) -> dict[str, Restorer]:
    """Return the ways to restore: one, or those to ask a request-conditioned network."""
    network = open_network(model, backend="torch")
    if not model.request_types:
        return {"restored": network}
    assert isinstance(network.restore, NetworkRestore)
    engine, auto = network.restore.engine, Settings(remove="auto")
    return {
        "asked for what is there": network,  # by `benchmark`
        "asked for what is found": Restorer(
            partial(restore, engine, settings=auto, classifier=classifier),
            network.description,
            fingerprint(model, auto, classifier),
        ),
        "asked for everything": Restorer(
            partial(restore, engine, remove="all"),
            network.description,
            f"{network.fingerprint}-everything",
        ),
    }


def printed(rows: Sequence[Row]) -> str:
    header = ["PSNR, dB", "images", "input", "restored", "change", "median", "smallest",
              "regressions", "untouched", "tool"]  # fmt: skip
    return table(header, [one.cells() for one in rows])


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-o", "--out", default="results/card", show_default=True, type=click.Path(path_type=Path)
)
@click.option("-m", "--model", default="tiny", show_default=True)
@click.option(
    "--classifier",
    default=DEFAULT_CLASSIFIER,
    show_default=True,
    help="Of a request-conditioned network.",
)
@click.option(
    "--pairs",
    multiple=True,
    type=(str, click.Path(path_type=Path, exists=True), click.Path(path_type=Path, exists=True)),
    help="Abbreviation of the degradation, LQ, GT; may be repeated.",
)
@click.option("--limit", type=int, help="Take the first N images of each set.")
@click.option("--no-tools", is_flag=True, help="Leave out the classical tools, which take minutes.")
def main(
    data: Path,
    out: Path,
    *,
    model: str,
    classifier: str,
    pairs: tuple[tuple[str, Path, Path], ...],
    limit: int | None,
    no_tools: bool,
) -> None:
    """Measure the model on the test sets of the preset `embedded` below DATA, and on pairs."""
    synthetic = [one for one in from_preset(load_data("embedded"), data) if not one.missing]
    own = from_pairs([(lq, gt) for _, lq, gt in pairs], [label for label, _, _ in pairs])
    print(
        f"Regression: more than {REGRESSION} dB below the input, "
        f"clean images below {GOOD - REGRESSION} dB."
    )
    for way, network in ways(load_model(model), load_classifier(classifier)).items():
        rows: list[Row] = []
        for testset in [*synthetic, *own]:
            rows.append(row(testset, network, out, limit=limit, tools=not no_tools))
            print(" | ".join(rows[-1].cells()), flush=True)
        print(f"\n{way}:\n\n{printed(rows)}\n")


if __name__ == "__main__":
    main()
