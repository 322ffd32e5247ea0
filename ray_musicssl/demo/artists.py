"""Invented artists whose names put their tracks where a data set's own rule puts them.

Conventions:
    The rules: the SHA-1 of the lower-cased name, as a number, modulo 116 for the key set and 10 for the rated clips; below
    100 and 8 is train, the rest valid.
    Source: the splits by artist of the MTG key data set, as the MARBLE benchmark makes it, and of EmoMusic, as jukemir does.
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
# Data set -> (values of the hash, those that are train).
_RULES = {"giantsteps": (116, 100), "emomusic": (10, 8)}


def split_of_artist(name: str, dataset: str = "giantsteps") -> str:
    """The split, train or valid, that a data set's rule gives an artist."""
    modulus, train_below = _RULES[dataset]
    digest = hashlib.sha1(name.lower().encode(), usedforsecurity=False).hexdigest()
    return "train" if int(digest, 16) % modulus < train_below else "valid"


@cache
def artists_of(split: str, dataset: str = "giantsteps") -> tuple[str, ...]:
    """Every invented artist of a split, in a fixed order."""
    names = [f"{_FIRST[(row + column) % len(_FIRST)]} {_LAST[row]}" for column in range(30) for row in range(30)]
    return tuple(name for name in names if split_of_artist(name, dataset) == split)
