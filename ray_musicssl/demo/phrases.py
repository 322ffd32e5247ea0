"""What the singers of the VocalSet-like set sing: arpeggios, scales, long tones and excerpts of songs.

Conventions:
    A phrase fills its recording: it begins at 0 and ends with the last sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ray_musicssl.demo.band import SINGERS_PROGRAM
from ray_musicssl.demo.score import Note, Sung
from ray_musicssl.demo.theory import MAJOR_SCALE
from ray_musicssl.demo.voices import VOWELS, singer

CONTEXTS = ("arpeggios", "scales", "long_tones", "excerpts")
_SCALE = (*MAJOR_SCALE, 12)
_PATTERNS = {
    "arpeggios": (0, 4, 7, 12, 7, 4),
    "scales": (*_SCALE, *_SCALE[-2:0:-1]),
    "long_tones": (0, 4, 7),
}
# Nobody does a technique in full every time, which keeps neighbours alike now and then.
_STRENGTH = (0.6, 1.0)
_NOTE_S = {"arpeggios": 0.5, "scales": 0.4, "long_tones": 1.4, "excerpts": 0.45}


@dataclass(frozen=True)
class Phrase:
    """What is sung in a recording."""

    pitches: tuple[int, ...]
    vowels: tuple[str, ...]  # of each pitch
    starts_s: tuple[float, ...]  # of each pitch, and the end
    strength: float  # of the technique


def draw_phrase(rng: np.random.Generator, *, number: int, context: str, vowel: str, duration_s: float) -> Phrase:
    """A phrase for a singer, in that singer's range."""
    count = max(1, round(duration_s / _NOTE_S[context] * rng.uniform(0.85, 1.2)))
    lowest = singer(number).lowest + int(rng.integers(5))
    if context == "excerpts":
        places = np.clip(4 + np.cumsum(rng.integers(-2, 3, count)), 0, len(_SCALE) - 1)
        steps = [_SCALE[place] for place in places]
        vowels = [VOWELS[int(choice)] for choice in rng.integers(len(VOWELS), size=count)]
        lengths = rng.choice([1.0, 1.0, 2.0], size=count)
    else:
        pattern = _PATTERNS[context]
        first = int(rng.integers(len(pattern))) if context == "long_tones" else 0
        steps = [pattern[(first + place) % len(pattern)] for place in range(count)]
        vowels, lengths = [vowel] * count, np.ones(count)
    starts_s = np.concatenate([[0.0], np.cumsum(lengths)]) * duration_s / lengths.sum()
    return Phrase(
        tuple(lowest + step for step in steps), tuple(vowels), tuple(starts_s.tolist()), rng.uniform(*_STRENGTH)
    )


def notes_of(phrase: Phrase, *, number: int, technique: str) -> Sequence[Note]:
    """The notes of a phrase, sung by a singer in a technique."""
    spans = zip(phrase.starts_s, phrase.starts_s[1:], strict=False)
    return [
        Note(
            start_s=start_s,
            duration_s=stop_s - start_s,
            pitch=pitch,
            velocity=100,
            instrument=SINGERS_PROGRAM,
            sung=Sung(singer=number, technique=technique, vowel=vowel, strength=phrase.strength),
        )
        for (start_s, stop_s), pitch, vowel in zip(spans, phrase.pitches, phrase.vowels, strict=True)
    ]
