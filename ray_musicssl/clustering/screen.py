"""Screening: an 8-bit product that proves most frames' nearest centroids at a fraction of the float32 product's time.

A row and a centroid are x = s (q + r) and c = t (p + u) with whole numbers q, p of at most 127 and what rounding left, r, u.
In units of 2 s t the score |c|^2 - 2 x.c is

    |c|^2 / (2 s t) - q.p   -   (q.u + r.(p + u)),

where the 8-bit product gives q.p exactly and, by Cauchy and Schwarz, the last bracket is at most |q| |u| + |r| |c| / t.
All these norms are known, so every centroid whose score is within twice that bound of the lowest may be the nearest, and no
other can be. One such candidate is the answer. Of several, float32 products of the row with those few decide, if the
lowest wins by more than rounding can do; otherwise the row is left open.

Conventions:
    Rounding is counted in, that of the float32 product over all centroids included: what is decided here is what that
    product would have said. Labels therefore do not depend on whether, or on which processor, rows were screened.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

LEVELS = 127  # the largest whole number of a signed byte, either side of zero
MIN_DIM, MIN_CLUSTERS = 512, 768  # below them, quantising and comparing cost what the product saves
CLUSTERS_PER_CANDIDATE = (
    64  # a row with more candidates than one in so many is left to the whole product, which is as fast
)
STRIP_ROWS = 64  # quantised at once: they stay in cache
PAIRS = 256  # rows and candidates multiplied at once: they stay in cache
FLOAT32_STEP = 2.0**-24  # half a unit in the last place, relative
TINY = (
    2 * LEVELS * float(np.finfo(np.float32).tiny)
)  # stands for the largest value of a row of zeros: its step has an inverse


def is_worth_it(*, num_clusters: int, dim: int) -> bool:
    """Whether screening saves time: wide enough products on a processor that multiplies bytes (AVX512-VNNI)."""
    return dim >= MIN_DIM and num_clusters >= MIN_CLUSTERS and torch.cpu._is_vnni_supported()  # noqa: SLF001


class Screen:
    """Centroids in 8 bits."""

    def __init__(self, centroids: Float32[np.ndarray, "clusters dim"], *, num_rows: int) -> None:
        """Quantise the centroids, which should have their mean near zero, and make room for `num_rows` rows."""
        num_clusters, dim = centroids.shape
        self._centroids = centroids
        self._step = max(float(np.abs(centroids).max()), TINY) / LEVELS
        exact = centroids.astype(np.float64)
        quantised = np.rint(exact / self._step)
        self._bytes = torch.from_numpy(np.ascontiguousarray(quantised.T).astype(np.int8))  # [dim, clusters]
        squared_norms = np.vecdot(exact, exact)
        self._half_squares = torch.from_numpy((squared_norms / (2 * self._step)).astype(np.float32))
        self._half_norms = (squared_norms / 2).astype(np.float32)
        self._max_candidates = max(2, num_clusters // CLUSTERS_PER_CANDIDATE)
        # In units of the step: the largest norm of a centroid, and of what rounding left of one.
        self._norm = float(np.sqrt(squared_norms.max())) / self._step
        self._residue = float(np.linalg.norm(exact / self._step - quantised, axis=1).max())
        # A product of `dim` terms is off by at most so much of |x| |c|; 16 more steps for the few operations around it.
        self._rounding = (dim + 16) * FLOAT32_STEP
        # Kept from call to call: memory asked for anew is handed out page by page, which takes as long as the product.
        self._scaled, self._whole = torch.empty(STRIP_ROWS, dim), torch.empty(STRIP_ROWS, dim)
        self._steps, self._lengths, self._residues = torch.empty(3, num_rows)
        self._row_bytes = torch.empty(num_rows, dim, dtype=torch.int8)
        self._products = torch.empty(num_rows, num_clusters, dtype=torch.int32)
        self._scores = torch.empty(num_rows, num_clusters)
        self._candidates = np.empty((num_rows, num_clusters), np.bool_)
        self._pairs = np.empty((2, PAIRS, dim), np.float32)

    def labels(self, rows: Float32[np.ndarray, "frames dim"]) -> Int64[np.ndarray, " frames"]:
        """The nearest centroid of each row, -1 where it is left open.

        Rows, at most `num_rows` of them, have the centroids' shift taken away.
        """
        num = len(rows)
        steps, length, residue = self._steps[:num], self._lengths[:num], self._residues[:num]
        for first in range(0, num, STRIP_ROWS):
            self._quantise(torch.from_numpy(rows), slice(first, min(first + STRIP_ROWS, num)))
        per_step = 1 / steps
        # In units of 2 s t, as the scores are.
        bound = length * self._residue + residue * self._norm
        slack = self._rounding * self._norm * (length + residue + self._norm * self._step * per_step)
        scores = self._scored(per_step)
        # A thousandth covers the rounding of the bound itself.
        limits = scores.amin(dim=1) + 2.002 * (bound + slack)
        candidates = np.less_equal(scores.numpy(), limits.numpy()[:, None], out=self._candidates[:num])
        return self._decided(rows, candidates, margin=(4 * slack * steps * self._step).numpy())

    def _quantise(self, rows: Float32[torch.Tensor, "frames dim"], strip: slice) -> None:
        """Fill in what is known of a strip of rows: bytes, steps, and the norms of both parts in units of the step."""
        x = rows[strip]
        scaled, whole = self._scaled[: len(x)], self._whole[: len(x)]
        steps = torch.maximum(x.amax(dim=1), -x.amin(dim=1)).clamp_(min=TINY).div_(LEVELS)
        torch.mul(x, (1 / steps)[:, None], out=scaled)
        torch.round(scaled, out=whole)
        self._row_bytes[strip] = whole.to(torch.int8)
        self._steps[strip] = steps
        self._lengths[strip] = torch.linalg.vector_norm(whole, dim=1)
        self._residues[strip] = torch.linalg.vector_norm(scaled.sub_(whole), dim=1)

    def _scored(self, per_step: Float32[torch.Tensor, " frames"]) -> Float32[torch.Tensor, "frames clusters"]:
        num = len(per_step)
        products, scores = self._products[:num], self._scores[:num]
        torch._int_mm(self._row_bytes[:num], self._bytes, out=products)  # noqa: SLF001
        return torch.addr(scores.copy_(products), per_step, self._half_squares, beta=-1, out=scores)

    def _decided(
        self,
        rows: Float32[np.ndarray, "frames dim"],
        candidates: Bool[np.ndarray, "frames clusters"],
        margin: Float32[np.ndarray, " frames"],
    ) -> Int64[np.ndarray, " frames"]:
        """The only candidate, or the one that wins by more than `margin`, in units of x.c - |c|^2 / 2."""
        num_rows, num_clusters = candidates.shape
        row_of, label_of = np.divmod(np.flatnonzero(candidates), num_clusters)
        counts = np.bincount(row_of, minlength=num_rows)
        labels = np.full(num_rows, -1, np.int64)
        alone = counts[row_of] == 1
        labels[row_of[alone]] = label_of[alone]
        several = (counts[row_of] > 1) & (counts[row_of] <= self._max_candidates)
        row_of, label_of = row_of[several], label_of[several]
        if len(row_of):
            nearness = self._products_of(rows, row_of, label_of) - self._half_norms[label_of]
            order = np.lexsort((-nearness, row_of))
            starts = np.flatnonzero(np.diff(row_of, prepend=-1))  # row_of ascends, before the sort and after
            best, second = order[starts], order[starts + 1]
            wins = nearness[best] - nearness[second] > margin[row_of[starts]]
            labels[row_of[starts][wins]] = label_of[best][wins]
        return labels

    def _products_of(
        self,
        rows: Float32[np.ndarray, "frames dim"],
        row_of: Int64[np.ndarray, " pairs"],
        label_of: Int64[np.ndarray, " pairs"],
    ) -> Float32[np.ndarray, " pairs"]:
        """Each pair's row times its centroid."""
        products = np.empty(len(row_of), np.float32)
        for first in range(0, len(row_of), PAIRS):
            part = slice(first, first + PAIRS)
            x, c = self._pairs[:, : len(row_of[part])]
            np.take(rows, row_of[part], axis=0, out=x, mode="clip")  # other modes copy once more
            np.take(self._centroids, label_of[part], axis=0, out=c, mode="clip")
            np.vecdot(x, c, out=products[part])
        return products
