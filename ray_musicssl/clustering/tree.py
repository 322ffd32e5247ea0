"""Addition in an order that only the parts' numbers decide.

Conventions:
    Floating-point addition is not associative: the same parts added in another order give other bits. Here the order is a
    binary tree over the parts' numbers. It can be cut into aligned groups of a power of two of parts: the tree over the
    groups' totals is the same tree, so neither the groups nor what ended first can be seen in the result.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

PartT = TypeVar("PartT")

MOST_PARTS_A_GROUP = 16  # a power of two: at most six results of a group are held at once (fewer: `pass_memory.py`)
GROUPS_A_SLOT = 2  # at least, where there are parts enough: a slow group then does not hold up all the others


def add_along_tree(parts: Sequence[PartT], add: Callable[[PartT, PartT], PartT]) -> PartT:
    """Add neighbours two by two, then the results two by two, until one is left; an odd last one moves up as it is.

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


class TreeSum(Generic[PartT]):
    """`add_along_tree` for parts that come one by one: of n parts it holds at most log2(n) + 1 sums at once."""

    def __init__(self, add: Callable[[PartT, PartT], PartT]) -> None:
        self._add = add
        self._waiting: list[tuple[int, PartT]] = []  # (height, sum), heights falling: the digits of a binary counter

    def push(self, part: PartT) -> None:
        """Add the next part."""
        height = 0
        while self._waiting and self._waiting[-1][0] == height:
            part = self._add(self._waiting.pop()[1], part)
            height += 1
        self._waiting.append((height, part))

    def total(self) -> PartT:
        """The sum of all parts so far.

        Raises:
            ValueError: if there are none.
        """
        if not self._waiting:
            raise ValueError("there is nothing to add: no part was pushed")
        *rest, (_, total) = self._waiting
        for _, part in reversed(rest):
            total = self._add(part, total)
        return total


def aligned_groups(num_parts: int, num_slots: int, most_parts: int = MOST_PARTS_A_GROUP) -> list[range]:
    """Cut the numbers of parts into runs whose totals add up along the same tree as the parts.

    Args:
        num_parts: how many parts there are.
        num_slots: how many groups can be worked on at once; there are two to four for each, or as many as there are parts.
            Beyond `most_parts` for each group there are more groups: what a group holds does not grow with the parts.
        most_parts: parts of one group, at most; a power of two.
    """
    size = 1
    while 2 * size <= most_parts and -(-num_parts // (2 * size)) >= GROUPS_A_SLOT * max(1, num_slots):
        size *= 2
    return [range(start, min(start + size, num_parts)) for start in range(0, num_parts, size)]
