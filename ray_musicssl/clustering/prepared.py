"""What passes make of a set of centroids before the first frame, kept for the next call with the same set.

Conventions:
    Only arrays that cannot be written to are kept, by identity: those that Ray hands to tasks, and those of a codebook.
    What was made of an array goes when the array does.
"""

import weakref
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

PreparedT = TypeVar("PreparedT")

_kept: dict[tuple[int, str], tuple[weakref.ref[np.ndarray], object]] = {}


def prepared(
    centroids: Float32[np.ndarray, "clusters dim"],
    place: str,
    make: Callable[[Float32[np.ndarray, "clusters dim"]], PreparedT],
) -> PreparedT:
    """What `make` gives for the centroids, made anew only if it is not kept.

    Args:
        centroids: one row each.
        place: the device it is made for; one `make` for each.
        make: what to call; what it gives must not refer to the array, which would then live for ever.
    """
    if centroids.flags.writeable:
        return make(centroids)
    key = (id(centroids), place)
    if key not in _kept:
        made = make(centroids)
        _kept[key] = (weakref.ref(centroids, lambda _: _kept.pop(key, None)), made)
    found: PreparedT = _kept[key][1]  # pyright: ignore[reportAssignmentType]  (of the same `make`)
    return found
