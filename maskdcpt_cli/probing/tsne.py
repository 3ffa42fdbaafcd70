"""Images laid out in a plane, so that those of similar features are neighbours (Sec. III)."""

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.probing.features import Distances

PERPLEXITY = 30.0  # about how many neighbours an image is meant to have

Embedding = NDArray[np.float32]  # (images, 2)


def embed(distances: Distances, *, seed: int = 0, perplexity: float = PERPLEXITY) -> Embedding:
    """Embedding in the plane by t-SNE (van der Maaten and Hinton, 2008).

    The perplexity is lowered where there are less than three times as many images.
    """
    from sklearn.manifold import TSNE

    most = max(1.0, (len(distances) - 1) / 3)
    tsne = TSNE(
        metric="precomputed", init="random", perplexity=min(perplexity, most), random_state=seed
    )
    return np.asarray(tsne.fit_transform(distances), np.float32)
