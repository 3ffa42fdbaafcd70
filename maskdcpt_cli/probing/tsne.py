"""Pictures laid out in a plane, so that those of similar features are neighbours (Sec. III)."""

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.probing.features import Distances

PERPLEXITY = 30.0  # about how many neighbours a picture is meant to have

Places = NDArray[np.float32]  # (pictures, 2)


def lay_out(distances: Distances, *, seed: int = 0, perplexity: float = PERPLEXITY) -> Places:
    """Places in the plane by t-SNE (van der Maaten and Hinton, 2008).

    The perplexity is lowered where there are less than three times as many pictures.
    """
    from sklearn.manifold import TSNE

    most = max(1.0, (len(distances) - 1) / 3)
    tsne = TSNE(
        metric="precomputed", init="random", perplexity=min(perplexity, most), random_state=seed
    )
    return np.asarray(tsne.fit_transform(distances), np.float32)
