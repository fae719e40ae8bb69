"""1,797 handwritten digits of 8x8 px (Alpaydin & Kaynak 1998, UCI), as they come with scikit-learn."""

import numpy as np
from torch import from_numpy

from models.sources.base import Images, Source


def read() -> Source:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 17 grey levels, 0 to 16. Scaled to the whole range of a byte, so that all sets are alike from here on.
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = Images(from_numpy(pixels).unsqueeze(1), from_numpy(bunch.target.astype(np.int64)))
    return Source(images, None, tuple(str(digit) for digit in range(10)), channels=1, side=8)
