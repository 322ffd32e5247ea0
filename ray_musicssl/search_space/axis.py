"""Axes: one field of the configuration over several values, listed or drawn.

Conventions:
    `grid` values are all tried, in every combination with the other axes'. Of every other axis one value is drawn for each
    of the `samples` points; variants, grid points and seeds share them, so that they compare on the same draws.
    A draw is a function of (seed, key, point): a further axis or a larger `samples` leaves the points before as they are, and
    a further value of `choice` changes only those that it takes.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ray_musicssl import randomness
from ray_musicssl.registry import nearest
from ray_musicssl.search_space.document import Document, Keys
from ray_musicssl.search_space.setting import Setting, check_key, plain

SIGNIFICANT_DIGITS = 4  # of a drawn number, so that a trial's name can say its value to the last digit
SUGGESTED_DIGITS = 7  # of one that Optuna suggests: it looks closely, and no two should be the same trial
_MOST_REDRAWS = 1000  # of one point; more means that the axes have too few values
LISTED = ("grid", "choice")
CONTINUOUS = ("uniform", "loguniform")

DRAWS: dict[str, Callable[[np.random.Generator, float, float], float]] = {
    "uniform": lambda draws, low, high: draws.uniform(low, high),
    "loguniform": lambda draws, low, high: math.exp(draws.uniform(math.log(low), math.log(high))),
    "randint": lambda draws, low, high: int(draws.integers(int(low), int(high))),
}
KINDS = (*LISTED, *DRAWS)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A config path and what it may be."""

    key: str
    kind: str  # one of KINDS
    values: tuple[Any, ...] = ()  # of `grid` and `choice`
    low: float = 0.0
    high: float = 0.0  # `randint`: the first number above the range, as numpy and Ray Tune have it
    place: Keys = ()

    @property
    def is_grid(self) -> bool:
        """Whether every value is tried."""
        return self.kind == "grid"

    def settings(self) -> list[Setting]:
        """A setting for each listed value."""
        return [self.setting(value, index) for index, value in enumerate(self.values)]

    def setting(self, value: Any, index: int | None = None) -> Setting:
        """This field at a value; `index` says which of the list, for messages."""
        place = self.place if index is None else (*self.place, self.kind, index)
        return Setting(key=self.key, value=value, place=place)

    def draw(self, seed: int, point: int, attempt: int) -> Setting:
        """The value of a point."""
        place = (seed, "search space", self.key, point, attempt)
        if self.kind == "choice":  # each value has a number of its own, and the highest wins: others leave it as it is
            index = max(range(len(self.values)), key=lambda i: randomness.key(*place, json.dumps(self.values[i])))
            return self.setting(self.values[index], index)
        draws = randomness.generator(*place)
        return self.setting(self.rounded(DRAWS[self.kind](draws, self.low, self.high)))

    def rounded(self, value: float, digits: int = SIGNIFICANT_DIGITS) -> float:
        """A number of the axis in so many significant digits, and still inside; whole numbers as they are."""
        if isinstance(value, int):
            return value
        return min(max(float(f"{value:.{digits}g}"), self.low), self.high)


def read_axis(document: Document, key: str, given: Mapping[str, Any]) -> Axis:
    """Read one entry of `axes:`.

    Raises:
        ConfigError: with file and line, if the path, the distribution, its values or its bounds are wrong.
    """
    place: Keys = ("axes", key)
    check_key(document, key, place)
    if len(given) != 1:
        raise document.error(f"{key} needs one of {', '.join(KINDS)}, not {', '.join(given) or 'nothing'}", *place)
    ((kind, values),) = given.items()
    inside = (*place, kind)
    if kind not in KINDS:
        raise document.error(
            f'unknown distribution "{kind}" of {key}{nearest(kind, list(KINDS))}; known: {", ".join(KINDS)}', *inside
        )
    if not isinstance(values, list):
        raise document.error(f"{key}: {kind} needs a list such as [{_EXAMPLES[kind]}], not {values!r}", *inside)
    values = [plain(document, value, (*inside, index)) for index, value in enumerate(values)]
    if kind in LISTED:
        _check_list(document, key, values, inside)
        return Axis(key=key, kind=kind, values=tuple(values), place=place)
    low, high = _bounds(document, key, values, inside)
    return Axis(key=key, kind=kind, low=low, high=high, place=place)


_EXAMPLES = {
    "grid": "0.5, 0.65",
    "choice": "0.5, 0.65",
    "uniform": "0.5, 0.8",
    "loguniform": "1.0e-4, 1.0e-3",
    "randint": "5, 16",
}


def _check_list(document: Document, key: str, values: Sequence[Any], place: Keys) -> None:
    if not values:
        raise document.error(f"{key}: {place[-1]} is empty; list a value or leave the axis out", *place)
    for index, value in enumerate(values):
        if value in values[:index]:
            raise document.error(f"{key}: {place[-1]} lists {value!r} twice; leave one out", *place, index)


def _bounds(document: Document, key: str, values: Sequence[Any], place: Keys) -> tuple[float, float]:
    kind = str(place[-1])
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if len(values) != 2 or not are_numbers:
        raise document.error(
            f"{key}: {kind} needs two numbers, low and high, such as [{_EXAMPLES[kind]}], not {values}", *place
        )
    low, high = values
    if low >= high:
        raise document.error(f"{key}: {kind} from {low} to {high} is empty; the first must be the lower", *place)
    if kind == "loguniform" and low <= 0:
        raise document.error(f"{key}: loguniform from {low} has no logarithm there; begin above 0", *place)
    if kind == "randint" and not all(float(value).is_integer() and abs(value) < 2**63 for value in values):
        raise document.error(f"{key}: randint from {low} to {high} needs whole numbers below 2^63", *place)
    return low, high


def draw_points(document: Document, axes: Sequence[Axis], *, samples: int, seed: int) -> list[tuple[Setting, ...]]:
    """`samples` different points of the axes that are drawn.

    Raises:
        ConfigError: with file and line, if the axes do not have so many.
    """
    points: list[tuple[Setting, ...]] = []
    seen: set[tuple[str, ...]] = set()
    for number in range(samples):
        for attempt in range(_MOST_REDRAWS):
            point = tuple(axis.draw(seed, number, attempt) for axis in axes)
            words = tuple(setting.word for setting in point)
            if words not in seen:
                break
        else:
            raise document.error(
                f"samples={samples}, but {_MOST_REDRAWS} draws gave no other point than the {number} before; ask for fewer, "
                f"or list them as a grid",
                "samples",
            )
        seen.add(words)
        points.append(point)
    return points
