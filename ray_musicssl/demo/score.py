"""What a piece of music is before it sounds: notes, strokes, beats, chords and key, all with times in seconds.

Conventions:
    Times count from the start of the audio; everything lies inside [0, duration_s).
    A beat's position is 1 on the downbeat.
"""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float64

from ray_musicssl.demo.instruments import Instrument
from ray_musicssl.demo.theory import Chord, Key
from ray_musicssl.run_dir import hash_of

_BEFORE_DOWNBEAT_S = 0.02  # time for a first note that is a little early


@dataclass(frozen=True, kw_only=True)
class Sung:
    """How a note is sung, instead of played."""

    singer: int  # of `voices.py`
    technique: str
    vowel: str
    strength: float = 1.0  # 0: as if sung straight, 1: the technique in full


@dataclass(frozen=True, kw_only=True)
class Note:
    """One tone of one instrument, or of a singer."""

    start_s: float
    duration_s: float
    pitch: int
    velocity: int  # 1 to 127
    instrument: Instrument  # of a sung note: one of the vocal family, which it is counted to
    gain: float = 1.0  # of its role in the mix
    sung: Sung | None = None


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """One stroke on a drum."""

    start_s: float
    piece: str
    velocity: int


@dataclass(frozen=True)
class Beat:
    """A beat and its place in the bar."""

    time_s: float
    position: int


@dataclass(frozen=True)
class ChordSpan:
    """A chord from its start to the next one's."""

    start_s: float
    chord: Chord


@dataclass(frozen=True)
class Section:
    """A stretch with one progression and one scoring."""

    start_s: float
    name: str


@dataclass(frozen=True, kw_only=True)
class Score:
    """A whole piece and the truth about it."""

    style: str
    key: Key
    tempo_bpm: float  # mean over the beats
    beats_per_bar: int
    duration_s: float
    beats: tuple[Beat, ...]
    chords: tuple[ChordSpan, ...]
    sections: tuple[Section, ...]
    notes: tuple[Note, ...]
    strokes: tuple[Stroke, ...]
    kit: int
    drum_level: float
    drive: float

    @property
    def label_hash(self) -> str:
        """A hash of everything above; equal on every machine for one seed and generator version."""
        return hash_of(_rounded(asdict(self)))


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value


@dataclass(frozen=True)
class Clock:
    """Turns musical positions into seconds: a tempo that breathes, and swung eighths.

    Positions count beats from the first downbeat; it lies at or before time 0, or just behind it.
    """

    beat_times_s: Float64[np.ndarray, " beats"]
    beats_per_bar: int
    swing: float

    def time_s(self, position: float) -> float:
        """The second at which a position falls."""
        beat = int(position)
        fraction = position - beat
        early = fraction < 0.5
        bent = 2 * fraction * self.swing if early else self.swing + (2 * fraction - 1) * (1 - self.swing)
        start, stop = self.beat_times_s[beat], self.beat_times_s[beat + 1]
        return float(start + bent * (stop - start))

    @property
    def num_bars(self) -> int:
        """Whole bars on the clock."""
        return (len(self.beat_times_s) - 1) // self.beats_per_bar

    def beats_within(self, duration_s: float) -> tuple[Beat, ...]:
        """The beats that fall inside the audio."""
        return tuple(
            Beat(float(time_s), index % self.beats_per_bar + 1)
            for index, time_s in enumerate(self.beat_times_s)
            if 0 <= time_s < duration_s
        )


def draw_clock(
    rng: np.random.Generator,
    *,
    tempo_bpm: float,
    beats_per_bar: int,
    swing: float,
    duration_s: float,
    is_from_downbeat: bool = False,
) -> Clock:
    """A clock that covers the audio and the rest of its last bar.

    The audio begins anywhere in the first bar, or with it if `is_from_downbeat`.
    """
    beat_s = 60 / tempo_bpm
    bar_s = beat_s * beats_per_bar
    num_beats = (int(duration_s / bar_s) + 3) * beats_per_bar
    # A player's tempo wanders by a few milliseconds a beat and comes back.
    wander = np.empty(num_beats)
    state = 0.0
    for index, shock in enumerate(rng.normal(0, 0.002, num_beats)):
        state = 0.8 * state + shock
        wander[index] = state
    steps = beat_s + np.clip(wander, -0.05 * beat_s, 0.05 * beat_s)
    start_s = -rng.uniform(0, bar_s)
    if is_from_downbeat:
        start_s = _BEFORE_DOWNBEAT_S
    return Clock(np.concatenate([[start_s], start_s + np.cumsum(steps)]), beats_per_bar, swing)
