"""Which centroid each frame is nearest to: float32 products, with an 8-bit product before them where that pays.

Conventions:
    The label is the index of the lowest score |c|^2 - 2 x.c as one float32 product gives it; of equal scores the lowest
    index. Screening (`screen.py`) answers only where it can prove that label, so it changes the time and nothing else.
    Both sides are shifted by the centroids' mean before the products: distances stay, rounding errors shrink.
    A row's bits depend neither on the rows beside it nor on how many there are: every product has the same shape, as a BLAS
    chooses its kernels by shape. They do depend on the kind of processor.
    Callers hold `one_blas_thread()`, so that a product's bits do not depend on the machine's thread count.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from ray_musicssl.clustering.screen import Screen, is_worth_it

CHUNK_ROWS = 256  # rows of every product, padded if there are fewer; larger ones leave the cache
STRIP_COLUMNS = 16
GIVE_UP_SHARE = 0.5  # of rows that screening leaves open: beyond it, screening costs more than it saves


class NearestCentroids:
    """A set of centroids, ready to label any number of frames."""

    def __init__(self, centroids: Float32[np.ndarray, "clusters dim"], *, is_screened: bool | None = None) -> None:
        """Prepare the products.

        Args:
            centroids: one row each, finite.
            is_screened: whether an 8-bit product comes first; None where this processor and these shapes gain by it.
        """
        num_clusters, dim = centroids.shape
        self._num_clusters = num_clusters
        self._shift = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
        shifted = centroids - self._shift
        # |x - c|^2 = |x|^2 + (|c|^2 - 2 x.c): with a column of ones beside x, one product gives all that depends on c.
        # Columns are added until their number is a multiple that no kernel has to treat apart; nobody looks at them.
        width = -(-num_clusters // STRIP_COLUMNS) * STRIP_COLUMNS
        self._weights = torch.zeros(dim + 1, width)
        weights = self._weights.numpy()
        weights[:dim, :num_clusters] = -2 * shifted.T
        weights[dim, :num_clusters] = np.einsum("kd,kd->k", shifted, shifted, dtype=np.float64)
        self._rows_with_one = torch.ones(CHUNK_ROWS, dim + 1)
        self._scores = torch.empty(CHUNK_ROWS, width)
        wanted = is_worth_it(num_clusters=num_clusters, dim=dim) if is_screened is None else is_screened
        self._screen = Screen(shifted, num_rows=CHUNK_ROWS) if wanted else None

    def labels(self, frames: Float32[np.ndarray, "frames dim"]) -> Int64[np.ndarray, " frames"]:
        """The index of each frame's nearest centroid."""
        labels = np.empty(len(frames), np.int64)
        open_rows = []  # those that screening could not decide
        shifted = np.empty((CHUNK_ROWS, frames.shape[1]), np.float32)
        for first in range(0, len(frames), CHUNK_ROWS):
            chunk = frames[first : first + CHUNK_ROWS]
            if self._screen is None:
                labels[first : first + CHUNK_ROWS] = self._scored(chunk)
                continue
            found = self._screen.labels(np.subtract(chunk, self._shift, out=shifted[: len(chunk)]))
            labels[first : first + CHUNK_ROWS] = found
            undecided = np.flatnonzero(found < 0)
            open_rows.append(undecided + first)
            if len(chunk) == CHUNK_ROWS and len(undecided) > GIVE_UP_SHARE * CHUNK_ROWS:
                self._screen = None
        if open_rows:
            rows = np.concatenate(open_rows)
            for first in range(0, len(rows), CHUNK_ROWS):
                few = rows[first : first + CHUNK_ROWS]
                labels[few] = self._scored(frames[few])
        return labels

    def _scored(self, chunk: Float32[np.ndarray, "frames dim"]) -> Int64[np.ndarray, " frames"]:
        """Labels of at most CHUNK_ROWS rows by float32 scores."""
        x, scores = self._rows_with_one, self._scores  # rows left over from the last chunk do no harm
        np.subtract(chunk, self._shift, out=x.numpy()[: len(chunk), :-1])
        if _is_home_of_mkl():
            torch.mm(x, self._weights, out=scores)
        else:
            np.matmul(x.numpy(), self._weights.numpy(), out=scores.numpy())
        return scores.numpy()[: len(chunk), : self._num_clusters].argmin(axis=1)


@cache
def _is_home_of_mkl() -> bool:
    """Whether torch's BLAS (MKL) is the faster one here.

    Of narrow frames (39-d) it is a fifth faster than numpy's OpenBLAS on Intel's processors, and slower on others.
    """
    cpuinfo = Path("/proc/cpuinfo")
    if not (torch.backends.mkl.is_available() and cpuinfo.exists()):
        return False
    with cpuinfo.open() as lines:
        return any(line.startswith("vendor_id") and "GenuineIntel" in line for line in lines)
