"""Addition in an order that only the parts' numbers decide."""

from collections.abc import Callable, Sequence
from typing import TypeVar

PartT = TypeVar("PartT")


def add_along_tree(parts: Sequence[PartT], add: Callable[[PartT, PartT], PartT]) -> PartT:
    """Add neighbours two by two, then the results two by two, until one is left; an odd last one moves up as it is.

    Floating-point addition is not associative: the same parts added in another order give other bits. Here the order is a
    function of the number of parts alone, not of which was ready first.

    Raises:
        ValueError: if there are no parts.
    """
    if not parts:
        raise ValueError("there is nothing to add: the sequence of parts is empty")
    level = list(parts)
    while len(level) > 1:
        pairs = [add(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]
