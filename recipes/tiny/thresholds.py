"""Fit the thresholds of a multi-label classifier on whole clean photos, and write its file anew.

Pre-training fits them on crops of the few clean images that are held out. `maskdcpt classify` looks
at whole photos, as they are and reduced. One percent of them is one photo of a hundred, so take
hundreds of photos, none of which was trained on. Each counts twice: as it is, and as soft and
compressed as a photo of a camera.

    python -m recipes.tiny.thresholds runs/mine/final.safetensors clean/ -o classifier.safetensors
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import table
from maskdcpt_cli import classify
from maskdcpt_cli.synthesis.table import degrade
from maskdcpt_cli.training.calibration import fit_thresholds
from maskdcpt_cli.weights.building import MIN_THRESHOLD, DegradationClassifier, build_classifier
from maskdcpt_cli.weights.checkpoint import save_checkpoint
from maskdcpt_cli.weights.zoo import read_model
from recipes.tiny.naming import Image, images_in

ENLARGED = 2  # times: a photo of a camera is soft at the pixel
QUALITY = 92  # of its JPEG file


def as_of_camera(photo: Image) -> Image:
    """Return a photo enlarged and compressed."""
    enlarged = cv2.resize(photo, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    compressed = degrade(np.float32(enlarged) / 255, "J", np.random.default_rng(), levels=[QUALITY])
    return np.rint(compressed[0] * 255).astype(np.uint8)


def probabilities_of(
    classifier: DegradationClassifier, photos: Iterable[Image]
) -> NDArray[np.float64]:
    """Return the probability of each label, (2 photos, labels): as they are, and of a camera."""
    rows = []
    for photo in photos:
        for one in (photo, as_of_camera(photo)):
            found = classify(classifier, one)
            rows.append([found[label] for label in classifier.degradations])
    return np.array(rows)


@click.command()
@click.argument("classifier")
@click.argument("clean", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--least",
    type=click.FloatRange(0, 1),
    default=MIN_THRESHOLD,
    show_default=True,
    help="No threshold is lower. Hundreds of photos allow less than the default.",
)
def main(classifier: str, clean: Path, output: Path, *, least: float) -> None:
    """Fit the thresholds of CLASSIFIER, a file or a name, on the clean photos below CLEAN."""
    if output.exists():
        raise click.UsageError(f"'{output}' exists: name another file.")
    checkpoint = read_model(classifier)
    if not checkpoint.multi_label:
        raise click.UsageError(f"'{classifier}' has one label of each photo, and no thresholds.")
    network = build_classifier(checkpoint)
    probabilities = probabilities_of(network, images_in(clean, None))
    thresholds = fit_thresholds(probabilities, network.degradations, least=least)
    called = probabilities > list(thresholds.values())
    rows = [
        [label, f"{network.threshold(label):.3f}", f"{thresholds[label]:.3f}", f"{count}"]
        for label, count in zip(network.degradations, called.sum(axis=0), strict=True)
    ]
    print(table(["label", "threshold before", "threshold", "clean photos above it"], rows))
    print(f"{called.any(axis=1).sum()} of {len(called)} clean photos have a label.")
    save_checkpoint(replace(checkpoint, thresholds=thresholds), output)


if __name__ == "__main__":
    main()
