"""What passes make of a set of centroids before the first frame, kept for the next call with the same set.

Conventions:
    Only arrays that cannot be written to are kept, by identity: those that Ray hands to tasks, and those of a codebook.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

PreparedT = TypeVar("PreparedT")

MOST_KEPT = 4  # sets in turn: the codebooks that label one clip
_kept: OrderedDict[tuple[int, str], tuple[np.ndarray, object]] = OrderedDict()


def prepared(
    centroids: Float32[np.ndarray, "clusters dim"],
    place: str,
    make: Callable[[Float32[np.ndarray, "clusters dim"]], PreparedT],
) -> PreparedT:
    """What `make` gives for the centroids, made anew only if it is not kept.

    Args:
        centroids: one row each.
        place: the device it is made for; one `make` for each.
        make: what to call.
    """
    if centroids.flags.writeable:
        return make(centroids)
    key = (id(centroids), place)  # the array is kept too, so no other one can take over its identity
    if key not in _kept:
        while len(_kept) >= MOST_KEPT:
            _kept.popitem(last=False)
        _kept[key] = (centroids, make(centroids))
    _kept.move_to_end(key)
    made: PreparedT = _kept[key][1]  # pyright: ignore[reportAssignmentType]  (of the same `make`)
    return made
