"""What each player plays in one bar: chords, bass, tune, pad and drums, as events at musical positions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ray_musicssl.demo.instruments import Instrument
from ray_musicssl.demo.score import Sung
from ray_musicssl.demo.styles import CompMode, Drums
from ray_musicssl.demo.theory import Chord, Key, fold

STEPS_PER_BEAT = 4
_BASS_INTERVALS = {"s": 9, "o": 12}
_STROKES = {"x": 104, "o": 58}


@dataclass(frozen=True)
class Onset:
    """One sound of a pattern: where it begins, how many steps it is held, and the letter that wrote it."""

    step: int
    num_steps: int
    letter: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """A tone at a musical position; `position` and `length` are in beats."""

    position: float
    length: float
    pitch: int
    velocity: int
    instrument: Instrument
    gain: float
    sung: Sung | None = None


@dataclass(frozen=True)
class DrumEvent:
    """A stroke at a musical position in beats."""

    position: float
    piece: str
    velocity: int


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A player or singer: the instrument, its place in the mix, and the lowest pitch of the octave it likes."""

    instrument: Instrument
    gain: float
    lowest: int
    sung: Sung | None = None  # a singer's way of singing; the vowels are drawn note by note


@dataclass(frozen=True)
class Bar:
    """One bar: its first beat and the chord under each of its beats."""

    first_beat: int
    chords: tuple[Chord, ...]

    @property
    def num_steps(self) -> int:
        """Steps of a pattern that this bar uses."""
        return STEPS_PER_BEAT * len(self.chords)

    def chord_at(self, step: int) -> Chord:
        """The chord under a step."""
        return self.chords[step // STEPS_PER_BEAT]

    def position(self, step: int) -> float:
        """A step's position in beats."""
        return self.first_beat + step / STEPS_PER_BEAT


def onsets(pattern: str, num_steps: int) -> Iterator[Onset]:
    """The sounds of the first `num_steps` steps of a pattern."""
    used = pattern[:num_steps]
    for step, letter in enumerate(used):
        if letter not in "-.":
            rest = used[step + 1 :]
            yield Onset(step, 1 + len(rest) - len(rest.lstrip("-")), letter)


def accent(step: int) -> int:
    """The velocity that a step's place in the bar suggests."""
    return 104 if step == 0 else 94 if step % STEPS_PER_BEAT == 0 else 80


def comp_bar(bar: Bar, pattern: str, mode: CompMode, voice: Voice) -> Iterator[Event]:
    """The accompaniment of one bar."""
    for index, onset in enumerate(onsets(pattern, bar.num_steps)):
        chord = bar.chord_at(onset.step)
        for pitch in _comp_pitches(chord, mode, index, voice.lowest):
            length = min(onset.num_steps, 1) if mode == "chuck" else onset.num_steps
            yield _event(bar, onset.step, length, pitch, voice)


def _comp_pitches(chord: Chord, mode: CompMode, index: int, lowest: int) -> tuple[int, ...]:
    tones = sorted(fold(pitch_class, lowest) for pitch_class in chord.pitch_classes)
    if mode == "arpeggio":
        rising = [*tones, tones[0] + 12]
        return (rising[(0, 2, 1, 3)[index % 4] % len(rising)],)
    root = fold(chord.root, lowest - 14)
    fifth = root + chord.intervals[2]
    if mode == "power":
        return (root, fifth, root + 12)
    if mode == "boogie":
        # The fifth alternates with the sixth; over a minor chord with the seventh, which stays in the key.
        sixth = root + (9 if chord.intervals[1] == 4 else 10)
        return (root, sixth if index % 4 in {2, 3} else fifth)
    return tuple(tones)


def bass_bar(bar: Bar, pattern: str, voice: Voice) -> Iterator[Event]:
    """The bass line of one bar."""
    for onset in onsets(pattern, bar.num_steps):
        chord = bar.chord_at(onset.step)
        intervals = {**_BASS_INTERVALS, "r": 0, "t": chord.intervals[1], "f": chord.intervals[2]}
        # Over a minor chord the sixth would leave the key as often as not; the seventh stays in it.
        if chord.intervals[1] == 3:
            intervals["s"] = 10
        pitch = fold(chord.root, voice.lowest) + intervals[onset.letter]
        yield _event(bar, onset.step, onset.num_steps, pitch, voice)


def pad_bar(bar: Bar, voice: Voice) -> Iterator[Event]:
    """Long chords, struck again only when the chord changes."""
    starts = [beat for beat in range(len(bar.chords)) if beat == 0 or bar.chords[beat] != bar.chords[beat - 1]]
    for start, stop in zip(starts, [*starts[1:], len(bar.chords)], strict=True):
        for pitch_class in bar.chords[start].pitch_classes:
            step = start * STEPS_PER_BEAT
            length = (stop - start) * STEPS_PER_BEAT
            yield _event(bar, step, length, fold(pitch_class, voice.lowest), voice)


@dataclass(frozen=True)
class Motif:
    """A rhythm, and by how many scale steps each sound of it moves."""

    rhythm: str
    moves: tuple[int, ...]


def draw_motif(rng: np.random.Generator, rhythms: tuple[str, ...]) -> Motif:
    """A motif in one of these rhythms; steps are commoner than leaps."""
    moves = rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3], size=16)
    return Motif(rhythms[rng.integers(len(rhythms))], tuple(int(move) for move in moves))


def melody_bar(bar: Bar, motif: Motif, key: Key, voice: Voice, *, is_pentatonic: bool) -> Iterator[Event]:
    """One bar of a tune: it moves along the key's scale and rests on chord tones on the beat."""
    scale = key.pentatonic if is_pentatonic else key.scale
    base = fold(key.tonic, voice.lowest)
    degree = motif.moves[-1]
    for index, onset in enumerate(onsets(motif.rhythm, bar.num_steps)):
        degree = int(np.clip(degree + motif.moves[index % len(motif.moves)], -3, len(scale) + 2))
        pitch = base + 12 * (degree // len(scale)) + scale[degree % len(scale)]
        if onset.step % STEPS_PER_BEAT == 0:
            chord = bar.chord_at(onset.step).pitch_classes
            pitch = min((pitch + shift for shift in (0, -1, 1, -2, 2, -3, 3)), key=lambda p: p % 12 not in chord)
        yield _event(bar, onset.step, onset.num_steps, pitch, voice)


def drum_bar(bar: Bar, drums: Drums, *, has_fill: bool) -> Iterator[DrumEvent]:
    """The strokes of one bar; a fill takes its last beat."""
    fill_from = bar.num_steps - STEPS_PER_BEAT if has_fill else bar.num_steps
    for piece, pattern in drums.items():
        for onset in onsets(pattern, fill_from):
            yield DrumEvent(bar.position(onset.step), piece, _STROKES[onset.letter])
    for step in range(fill_from, bar.num_steps):
        yield DrumEvent(bar.position(step), "tom" if step % 2 else "snare", 84)


def _event(bar: Bar, step: int, num_steps: int, pitch: int, voice: Voice) -> Event:
    return Event(
        position=bar.position(step),
        length=num_steps / STEPS_PER_BEAT,
        pitch=pitch,
        velocity=accent(step),
        instrument=voice.instrument,
        gain=voice.gain,
        sung=voice.sung,
    )
