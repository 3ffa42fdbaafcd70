"""Metrics over a whole set, which pyiqa computes from two folders."""

from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.scoring.events import ImageSource, Item
from maskdcpt_cli.scoring.pyiqa_adapter import Measure

FEWEST = 2  # images on each side, for a covariance


class SetFolders:
    """Two folders with the images of a set as 8-bit PNG files; add() is thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.restored, self.gt = folder / "restored", folder / "gt"
        for side in (self.restored, self.gt):
            side.mkdir()
        self._written: set[ImageSource] = set()
        self._count = 0
        self._lock = Lock()

    def add(self, item: Item, restored: NDArray[np.uint8], gt: NDArray[np.uint8]) -> None:
        """Add a pair; a ground truth file of several restored images is added once."""
        with self._lock:
            self._count += 1
            name = f"{self._count:08}.png"
            known = isinstance(item.gt, Path) and item.gt in self._written
            if isinstance(item.gt, Path):
                self._written.add(item.gt)
        _write(self.restored / name, restored)
        if not known:
            _write(self.gt / name, gt)

    def measured_by(self, measure: Measure) -> float:
        """Return pyiqa's value for both folders; raises ValueError if there are too few images."""
        if min(len(list(side.iterdir())) for side in (self.restored, self.gt)) < FEWEST:
            raise ValueError(f"it needs {FEWEST} or more images on each side")
        return float(measure(str(self.restored), str(self.gt), num_workers=0, verbose=False))


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    quick = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quick)
    path.write_bytes(data.tobytes())
