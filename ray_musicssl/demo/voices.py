"""Who sings: invented singers, each with a range, a throat and habits of their own.

Conventions:
    A singer is a number. The first twenty are those of the VocalSet-like set; the others sing in songs, so that no
    singer is both in songs and to be recognised. A singer's traits are a function of the number alone.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

Sex = Literal["female", "male"]

# Source: VocalSet's ten techniques of the paper's task and its five vowels.
TECHNIQUES = (
    *("belt", "breathy", "inhaled", "lip_trill", "spoken"),
    *("straight", "trill", "trillo", "vibrato", "vocal_fry"),
)
VOWELS = ("a", "e", "i", "o", "u")
# Source: VocalSet has nine women and eleven men.
VOCALSET_SINGERS = tuple(range(20))
SONG_SINGERS = tuple(range(20, 44))
_NUM_WOMEN = 9
_SINGER_SEED = 70_131


@dataclass(frozen=True, kw_only=True)
class Singer:
    """A singer's traits; everything that `voice.py` needs to know of a person."""

    sex: Sex
    lowest: int  # MIDI pitch of the bottom of the comfortable range, some 15 semitones wide
    tract: float  # factor of all formants: a short throat has high ones
    formants: tuple[float, ...]  # a factor of each formant
    bandwidth: float  # factor of the formants' widths
    tilt: float  # exponent by which partials of the glottis fall
    vibrato_hz: float
    vibrato_cents: float
    jitter_cents: float  # slow wandering of the pitch
    breath: float  # noise beside a voice of level 1
    colour_db: tuple[float, ...]  # gains of the microphone and room at `COLOUR_HZ`


COLOUR_HZ = (120.0, 350.0, 800.0, 1700.0, 3200.0, 6500.0)


@cache
def singer(number: int) -> Singer:
    """The traits of a singer."""
    rng = np.random.Generator(np.random.PCG64([_SINGER_SEED, number]))
    sex = sex_of(number)
    lowest, tract = ((55, 1.16), (43, 1.0))[sex == "male"]
    return Singer(
        sex=sex,
        lowest=lowest + int(rng.integers(6)),
        tract=tract * rng.uniform(0.92, 1.08),
        formants=tuple(rng.uniform(0.9, 1.1, 5).tolist()),
        bandwidth=rng.uniform(0.8, 1.6),
        tilt=rng.uniform(0.9, 1.6),
        vibrato_hz=rng.uniform(4.8, 6.4),
        vibrato_cents=rng.uniform(45, 100),
        jitter_cents=rng.uniform(3, 9),
        breath=rng.uniform(0.01, 0.06),
        colour_db=tuple(rng.normal(0, 4.0, len(COLOUR_HZ)).tolist()),
    )


def sex_of(number: int) -> Sex:
    """Women first in the VocalSet-like set; in songs in turn."""
    if number in VOCALSET_SINGERS:
        return "female" if number < _NUM_WOMEN else "male"
    return ("female", "male")[number % 2]


def folder_of(number: int) -> str:
    """VocalSet's folder of a singer, such as "female1"."""
    return f"{sex_of(number)}{number + 1 if number < _NUM_WOMEN else number - _NUM_WOMEN + 1}"


def code_of(number: int) -> str:
    """VocalSet's short name of a singer, such as "f1"."""
    return folder_of(number).replace("emale", "").replace("ale", "")
