"""How labels agree with known classes: a table of counts, and the measures that are read off it.

Conventions:
    Rows are clusters, columns classes. Tables of parts of the frames add up to the table of all, exactly (integers).
    A frame without a known class has the class -1 and is not counted.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64
from scipy.stats import random_table

NO_CLASS = -1


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What a table says; every measure but the counts lies in 0..1. All are 0 for a table without frames.

    Source: Hsu et al. 2021 (HuBERT), the purity and PNMI of its figure on clustering quality, with phones replaced by any
    classes; NMI as in scikit-learn (arithmetic mean of the two entropies), which is the V-measure;
    but 0, not 1, where there is only one cluster and one class: nothing can be known there.
    """

    num_frames: int
    num_classes: int  # that occur
    class_purity: float  # chance to be right if every cluster names its commonest class (HuBERT: phone purity)
    cluster_purity: float  # chance to be right if every class names its commonest cluster
    nmi: float  # mutual information over the mean of both entropies
    pnmi: float  # mutual information over the entropy of the classes: the share of it that the labels tell


@dataclass(frozen=True)
class Contingency:
    """How many frames have which cluster and which class. Addition is exact, so its order plays no part."""

    counts: Int64[np.ndarray, "clusters classes"]

    def __add__(self, other: "Contingency") -> "Contingency":
        return Contingency(self.counts + other.counts)

    @property
    def num_frames(self) -> int:
        """Frames counted."""
        return int(self.counts.sum())

    def agreement(self) -> Agreement:
        """The measures of this table."""
        total = self.num_frames
        if not total:
            return Agreement(num_frames=0, num_classes=0, class_purity=0.0, cluster_purity=0.0, nmi=0.0, pnmi=0.0)
        clusters, classes = self.counts.sum(axis=1), self.counts.sum(axis=0)
        of_clusters, of_classes = _entropy(clusters), _entropy(classes)
        # Information is never negative; rounding may say so of a table whose rows are all alike.
        information = max(0.0, of_clusters + of_classes - _entropy(self.counts.ravel()))
        return Agreement(
            num_frames=total,
            num_classes=int((classes > 0).sum()),
            class_purity=float(self.counts.max(axis=1).sum() / total),
            cluster_purity=float(self.counts.max(axis=0).sum() / total),
            nmi=_ratio(information, (of_clusters + of_classes) / 2),
            pnmi=_ratio(information, of_classes),
        )

    def shuffled(self, seed: int) -> "Contingency":
        """A table of the same clusters and classes, paired at random: what its measures say is chance.

        Drawn from the distribution of all shufflings of the frames, which the sums of rows and columns alone decide.
        """
        if not self.num_frames:
            return self
        rows, columns = self.counts.sum(axis=1), self.counts.sum(axis=0)
        live_rows, live_columns = np.flatnonzero(rows), np.flatnonzero(columns)
        drawn = random_table(rows[live_rows], columns[live_columns]).rvs(random_state=np.random.default_rng(seed))
        counts = np.zeros_like(self.counts)
        counts[np.ix_(live_rows, live_columns)] = drawn.astype(np.int64)
        return Contingency(counts)


def count_pairs(
    labels: Int[np.ndarray, " frames"], classes: Int[np.ndarray, " frames"], *, num_clusters: int, num_classes: int
) -> Contingency:
    """The table of some frames.

    Args:
        labels: clusters, in [0, num_clusters).
        classes: in [0, num_classes), or -1 where none is known.
        num_clusters: rows of the table.
        num_classes: columns of the table.

    Raises:
        ValueError: if the two differ in length, or a value lies outside its range.
    """
    if len(labels) != len(classes):
        raise ValueError(f"{len(labels)} labels and {len(classes)} classes cannot be paired; give one class a label")
    known = classes != NO_CLASS
    labels, classes = labels[known].astype(np.int64), classes[known].astype(np.int64)
    for name, values, limit in (("label", labels, num_clusters), ("class", classes, num_classes)):
        if len(values) and not 0 <= values.min() <= values.max() < limit:
            raise ValueError(f"a {name} lies in {values.min()}..{values.max()}; it must lie in 0..{limit - 1}")
    pairs = np.bincount(labels * num_classes + classes, minlength=num_clusters * num_classes)
    return Contingency(pairs.reshape(num_clusters, num_classes).astype(np.int64))


def _entropy(counts: Int64[np.ndarray, " n"]) -> float:
    """In nats."""
    shares: Float64[np.ndarray, " n"] = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _ratio(value: float, most: float) -> float:
    return min(1.0, value / most) if most > 0 else 0.0
