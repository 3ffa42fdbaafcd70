"""Embedding of images in the plane by t-SNE (Sec. III)."""

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.probing.features import Distances

PERPLEXITY = 30.0  # about the number of neighbours of an image

Embedding = NDArray[np.float32]  # (images, 2)


def embed(distances: Distances, *, seed: int = 0, perplexity: float = PERPLEXITY) -> Embedding:
    """Embed images in the plane by t-SNE (van der Maaten and Hinton, 2008).

    The perplexity is reduced to a third of the number of images, at most.

    Returns:
        Coordinates (images, 2).
    """
    from sklearn.manifold import TSNE

    most = max(1.0, (len(distances) - 1) / 3)
    tsne = TSNE(
        metric="precomputed", init="random", perplexity=min(perplexity, most), random_state=seed
    )
    return np.asarray(tsne.fit_transform(distances), np.float32)
