"""Fit the thresholds of a multi-label classifier on whole clean photos, and write its file anew.

Pre-training fits them on crops of the few clean images that are held out. `maskdcpt classify` looks
at whole photos, as they are and reduced. One percent of them is one photo of a hundred, so take
hundreds of photos, none of which was trained on.

    python -m recipes.tiny.thresholds runs/mine/final.safetensors clean/ -o classifier.safetensors
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import table
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.discover import discover_photos
from maskdcpt_cli.inference.classify import classify_files
from maskdcpt_cli.training.calibration import fit_thresholds
from maskdcpt_cli.weights.building import DegradationClassifier, build_classifier
from maskdcpt_cli.weights.checkpoint import save_checkpoint
from maskdcpt_cli.weights.zoo import read_model


def probabilities_of(
    classifier: DegradationClassifier, photos: Sequence[Path]
) -> NDArray[np.float64]:
    """Return the probability of each label in whole photos, (photos, labels).

    Raises:
        MaskDCPTError: for a photo that cannot be read.
    """
    rows = []
    for one in classify_files(classifier, photos):
        if one.reason:
            raise MaskDCPTError(one.reason)
        rows.append([one.probabilities[label] for label in classifier.degradations])
    return np.array(rows)


@click.command()
@click.argument("classifier")
@click.argument("clean", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False))
def main(classifier: str, clean: Path, output: Path) -> None:
    """Fit the thresholds of CLASSIFIER, a file or a name, on the clean photos below CLEAN."""
    if output.exists():
        raise click.UsageError(f"'{output}' exists: name another file.")
    checkpoint = read_model(classifier)
    if not checkpoint.multi_label:
        raise click.UsageError(f"'{classifier}' has one label of each photo, and no thresholds.")
    found, _ = discover_photos([str(clean)], recursive=True)
    if not found:
        raise click.UsageError(f"There are no images in '{clean}'.")
    network = build_classifier(checkpoint)
    probabilities = probabilities_of(network, [photo.source for photo in found])
    thresholds = fit_thresholds(probabilities, network.degradations)
    called = probabilities > list(thresholds.values())
    rows = [
        [label, f"{network.threshold(label):.3f}", f"{thresholds[label]:.3f}", f"{count}"]
        for label, count in zip(network.degradations, called.sum(axis=0), strict=True)
    ]
    print(table(["label", "threshold before", "threshold", "clean photos above it"], rows))
    print(f"{called.any(axis=1).sum()} of {len(found)} clean photos have a label.")
    save_checkpoint(replace(checkpoint, thresholds=thresholds), output)


if __name__ == "__main__":
    main()
