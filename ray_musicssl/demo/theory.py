"""Keys, scales and chords: the little harmony the composer needs.

Conventions:
    A pitch class is 0 (C) to 11 (B); a pitch is a MIDI number (60 is middle C, 69 is A of 440 Hz).
    Key names use flats and lower-case modes ("Db minor"), as the key data sets do.
"""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["major", "minor"]

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
SHARPS = {"Db": "C#", "Eb": "D#", "Gb": "F#", "Ab": "G#", "Bb": "A#"}
MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10)
MAJOR_PENTATONIC = (0, 2, 4, 7, 9)
MINOR_PENTATONIC = (0, 3, 5, 7, 10)
_DEGREES = {"i": 0, "ii": 1, "iii": 2, "iv": 3, "v": 4, "vi": 5, "vii": 6}
_TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6)}
_SEVENTHS = {"": (), "7": (10,), "M7": (11,)}


@dataclass(frozen=True)
class Key:
    """A tonic and a mode."""

    tonic: int
    mode: Mode

    @property
    def name(self) -> str:
        """The key in words, such as "Eb minor"."""
        return f"{TONICS[self.tonic]} {self.mode}"

    @property
    def sharp_name(self) -> str:
        """The same with sharps, such as "D# minor"."""
        tonic = TONICS[self.tonic]
        return f"{SHARPS.get(tonic, tonic)} {self.mode}"

    @property
    def scale(self) -> tuple[int, ...]:
        """Semitones above the tonic; the natural scale in minor."""
        return MAJOR_SCALE if self.mode == "major" else MINOR_SCALE

    @property
    def pentatonic(self) -> tuple[int, ...]:
        """The five-tone scale inside `scale`, in semitones above the tonic."""
        return MAJOR_PENTATONIC if self.mode == "major" else MINOR_PENTATONIC

    @property
    def pitch_classes(self) -> frozenset[int]:
        """What belongs to the key; in minor also the raised seventh of the dominant."""
        extra = (11,) if self.mode == "minor" else ()
        return frozenset((self.tonic + step) % 12 for step in (*self.scale, *extra))


ALL_KEYS = tuple(Key(tonic, mode) for mode in ("major", "minor") for tonic in range(12))


def key_named(name: str) -> Key:
    """The key that `Key.name` calls so; our own plans are the only callers."""
    tonic, mode = name.split()
    return Key(TONICS.index(tonic), "major" if mode == "major" else "minor")


@dataclass(frozen=True)
class Chord:
    """A root and the semitones above it."""

    root: int
    intervals: tuple[int, ...]

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The pitch classes, root first."""
        return tuple((self.root + interval) % 12 for interval in self.intervals)


def chord_of(numeral: str, key: Key) -> Chord:
    """Read a roman numeral in a key.

    Upper case is major, lower case minor, a trailing `o` diminished; `7` adds a minor and `M7` a major seventh. Degrees
    count on the key's own scale, so `VI` in A minor is F major.
    """
    suffix = "M7" if numeral.endswith("M7") else "7" if numeral.endswith("7") else ""
    body = numeral.removesuffix(suffix)
    letters = body.rstrip("o")
    quality = "diminished" if body.endswith("o") else "major" if letters.isupper() else "minor"
    root = key.tonic + key.scale[_DEGREES[letters.lower()]]
    return Chord(root % 12, (*_TRIADS[quality], *_SEVENTHS[suffix]))


def chords_of(numerals: str, key: Key) -> tuple[Chord, ...]:
    """Read a row of roman numerals, such as "I vi IV V"."""
    return tuple(chord_of(numeral, key) for numeral in numerals.split())


def fold(pitch_class: int, lowest: int) -> int:
    """The pitch of this class in the octave that begins at `lowest`."""
    return lowest + (pitch_class - lowest) % 12
