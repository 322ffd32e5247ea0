"""What listeners would say of a piece: how excited and how pleasant it sounds, worked out from its score.

Conventions:
    Ratings lie between 1 and 9. They follow what studies of music and emotion agree on: tempo, density, drums and
    distortion excite; the major mode, a lively tempo, a high register and a clean sound please.
    A piece's ratings are a function of its score and of the seed of the listeners' disagreement.
"""

from dataclasses import dataclass
from math import log1p, log2

import numpy as np

from ray_musicssl.demo.score import Score

# Mean and spread of each trait over pieces of all ten styles, so that the weights below compare.
_TEMPO, _DENSITY, _DRUMS, _DRIVE, _PITCH = (-0.15, 0.35), (2.8, 0.46), (3.8, 2.7), (1.4, 0.7), (56.3, 4.4)
_NEUTRAL, _POINTS = 5.0, 1.3  # a spread of 1.3 points, as real listeners' means have
_DISAGREEMENT = 0.3  # points by which a panel's mean misses


@dataclass(frozen=True)
class Emotion:
    """Mean ratings of a panel, from 1 to 9."""

    arousal: float
    valence: float


def emotion_of(score: Score, seed: int) -> Emotion:
    """The ratings of a piece."""
    tempo = _trait(log2(score.tempo_bpm / 120), _TEMPO)
    density = _trait(log1p((len(score.notes) + len(score.strokes)) / score.duration_s), _DENSITY)
    beaten = sum(stroke.velocity / 127 for stroke in score.strokes) / score.duration_s
    drums = _trait(beaten * score.drum_level, _DRUMS)
    drive = _trait(score.drive, _DRIVE)
    lengths = [note.duration_s for note in score.notes]
    register = _trait(np.average([note.pitch for note in score.notes], weights=lengths) if lengths else 56.3, _PITCH)
    mode = 1.0 if score.key.mode == "major" else -1.0
    rng = np.random.Generator(np.random.PCG64([seed, 2]))
    arousal = 0.35 * tempo + 0.4 * density + 0.3 * drums + 0.15 * drive
    valence = 0.8 * mode + 0.35 * tempo + 0.35 * register - 0.3 * drive
    return Emotion(arousal=_rating(arousal, rng), valence=_rating(valence, rng))


def _trait(value: float, scale: tuple[float, float]) -> float:
    mean, spread = scale
    return (float(value) - mean) / spread


def _rating(strength: float, rng: np.random.Generator) -> float:
    return float(np.clip(_NEUTRAL + _POINTS * strength + rng.normal(0, _DISAGREEMENT), 1, 9))
