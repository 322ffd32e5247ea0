"""Invented artists whose names put their tracks where the key data set's own rule puts them.

Conventions:
    The rule: the SHA-1 of the lower-cased name, as a number, modulo 116; below 100 is train, the rest valid.
    Source: the split of the MTG key data set by artist, as the MARBLE benchmark makes it.
"""

import hashlib
from functools import cache

_FIRST = (
    "Amber",
    "Arctic",
    "Brass",
    "Cobalt",
    "Copper",
    "Crystal",
    "Desert",
    "Distant",
    "Electric",
    "Emerald",
    "Fading",
    "Gentle",
    "Golden",
    "Hidden",
    "Hollow",
    "Indigo",
    "Ivory",
    "Lunar",
    "Marble",
    "Midnight",
    "Neon",
    "Northern",
    "Paper",
    "Quiet",
    "Scarlet",
    "Silver",
    "Solar",
    "Velvet",
    "Violet",
    "Wild",
)
_LAST = (
    "Antenna",
    "Arcade",
    "Avenue",
    "Bloom",
    "Canyon",
    "Carousel",
    "Cascade",
    "Circuit",
    "Comet",
    "Corridor",
    "Engine",
    "Feather",
    "Garden",
    "Harbor",
    "Horizon",
    "Lantern",
    "Meadow",
    "Mirage",
    "Orchard",
    "Parade",
    "Pilot",
    "Pulse",
    "River",
    "Satellite",
    "Signal",
    "Station",
    "Tide",
    "Tower",
    "Voyage",
    "Window",
)
_MODULUS, _TRAIN_BELOW = 116, 100


def split_of_artist(name: str) -> str:
    """The split, train or valid, that the rule gives an artist."""
    digest = hashlib.sha1(name.lower().encode(), usedforsecurity=False).hexdigest()
    return "train" if int(digest, 16) % _MODULUS < _TRAIN_BELOW else "valid"


@cache
def artists_of(split: str) -> tuple[str, ...]:
    """Every invented artist of a split, in a fixed order."""
    names = (f"{_FIRST[(row + column) % len(_FIRST)]} {_LAST[row]}" for column in range(30) for row in range(30))
    return tuple(name for name in names if split_of_artist(name) == split)
