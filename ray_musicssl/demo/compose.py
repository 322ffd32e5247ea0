"""Writes a piece from (seed, index): draws key, tempo, form and players, and lets them play bar by bar, humanly."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ray_musicssl.demo import parts
from ray_musicssl.demo.band import Arrangement, Band, draw_band, pick
from ray_musicssl.demo.more_styles import STYLES
from ray_musicssl.demo.parts import Bar, DrumEvent, Event, Motif
from ray_musicssl.demo.score import ChordSpan, Clock, Note, Score, Section, Stroke, draw_clock
from ray_musicssl.demo.styles import CompMode, Drums, Style
from ray_musicssl.demo.theory import Chord, Key, chords_of
from ray_musicssl.demo.voices import VOWELS

# Raise it whenever a seed would give another score or another sound: an old corpus is then refused, never mixed.
GENERATOR_VERSION = 3
_TIMING_S = 0.004  # spread of a player's timing around the beat
_NUM_KITS = 6
_SECTION_BARS = 4


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What the players do in every section of one name."""

    name: str
    chords: tuple[Chord, ...]  # the progression, in turn
    comp_pattern: str
    comp_mode: CompMode
    bass_pattern: str
    drums: Drums
    motifs: tuple[Motif, ...]  # empty: no tune here
    has_pad: bool


def compose(
    seed: int,
    index: int,
    style_name: str,
    duration_s: float,
    key: Key | None = None,
    *,
    arrangement: Arrangement = "band",
) -> Score:
    """Write a piece.

    Args:
        seed: the corpus's seed for this set.
        index: the piece's number in the set; (seed, index) fixes everything that is drawn.
        style_name: one of `STYLES`.
        duration_s: length of the audio in seconds.
        key: the key to write in; drawn by default.
        arrangement: who is there. A solo has no chords and no strokes, for nobody plays them.
    """
    style = STYLES[style_name]
    rng = np.random.Generator(np.random.PCG64([GENERATOR_VERSION, seed, index]))
    drawn = Key(int(rng.integers(12)), "minor" if rng.random() < style.minor_odds else "major")
    key = key or drawn
    beats_per_bar = pick(rng, style.metres)
    is_solo = arrangement in {"solo", "voice"}
    clock = draw_clock(
        rng,
        tempo_bpm=rng.uniform(*style.tempo_bpm),
        beats_per_bar=beats_per_bar,
        swing=rng.uniform(*style.swing),
        duration_s=duration_s,
        is_from_downbeat=is_solo,  # somebody alone does not begin with a rest
    )
    beats_per_chord = pick(rng, style.chord_beats) if beats_per_bar == 4 else beats_per_bar
    band = draw_band(rng, style, arrangement)
    scorings = tuple(_draw_scoring(rng, style, key, name, arrangement) for name in "AB")
    bars = _lay_out(scorings, clock, beats_per_chord)
    events, strokes = _play(rng, style, key, band, bars)
    beats = clock.beats_within(duration_s)
    return Score(
        style=style.name,
        key=key,
        tempo_bpm=60 / float(np.diff(clock.beat_times_s).mean()),
        beats_per_bar=beats_per_bar,
        duration_s=duration_s,
        beats=beats,
        chords=() if is_solo else tuple(_chord_spans(bars, clock, duration_s)),
        sections=tuple(_sections(bars, clock, duration_s)),
        notes=tuple(_humanised(rng, events, clock, duration_s)),
        strokes=tuple(_humanised_strokes(rng, strokes, clock, duration_s)),
        kit=int(rng.integers(_NUM_KITS)),
        drum_level=style.drum_level * rng.uniform(0.75, 1.25),
        drive=rng.uniform(*style.drive),
    )


def _draw_scoring(rng: np.random.Generator, style: Style, key: Key, name: str, arrangement: Arrangement) -> Scoring:
    progressions = style.major if key.mode == "major" else style.minor
    rhythms = style.melody
    if arrangement in {"solo", "voice"}:
        rhythms = tuple(rhythm for rhythm in rhythms if rhythm.startswith("x"))
    motifs = (parts.draw_motif(rng, rhythms), parts.draw_motif(rng, rhythms))
    has_melody = rng.random() < style.melody_odds or arrangement in {"sung", "solo", "voice"}
    return Scoring(
        name=name,
        chords=chords_of(pick(rng, progressions), key),
        comp_pattern=pick(rng, style.comp),
        comp_mode=pick(rng, style.comp_modes),
        bass_pattern=pick(rng, style.bass),
        drums=pick(rng, style.drums) if style.drums else {},
        motifs=motifs if has_melody else (),
        has_pad=rng.random() < 0.7,
    )


@dataclass(frozen=True)
class PlannedBar:
    """A bar, its place in its section, and the section's scoring."""

    bar: Bar
    index: int  # in its section
    scoring: Scoring


def _lay_out(scorings: tuple[Scoring, ...], clock: Clock, beats_per_chord: int) -> list[PlannedBar]:
    """The form: sections of equal length in turn, each beginning its progression anew."""
    planned = []
    for number in range(clock.num_bars):
        section, index = divmod(number, _SECTION_BARS)
        scoring = scorings[section % len(scorings)]
        first = index * clock.beats_per_bar
        chords = tuple(
            scoring.chords[(first + beat) // beats_per_chord % len(scoring.chords)]
            for beat in range(clock.beats_per_bar)
        )
        planned.append(PlannedBar(Bar(number * clock.beats_per_bar, chords), index, scoring))
    return planned


def _play(
    rng: np.random.Generator, style: Style, key: Key, band: Band, bars: list[PlannedBar]
) -> tuple[list[Event], list[DrumEvent]]:
    events: list[Event] = []
    strokes: list[DrumEvent] = []
    for planned in bars:
        bar, scoring = planned.bar, planned.scoring
        if band.comp:
            events += parts.comp_bar(bar, scoring.comp_pattern, scoring.comp_mode, band.comp)
        if band.bass:
            events += parts.bass_bar(bar, scoring.bass_pattern, band.bass)
        if band.pad and scoring.has_pad:
            events += parts.pad_bar(bar, band.pad)
        if scoring.motifs:
            motif = scoring.motifs[planned.index % 2]
            events += parts.melody_bar(bar, motif, key, band.lead, is_pentatonic=style.is_pentatonic)
        if scoring.drums and band.comp:
            has_fill = planned.index == _SECTION_BARS - 1 and rng.random() < 0.4
            strokes += parts.drum_bar(bar, scoring.drums, has_fill=has_fill)
    return events, strokes


def _chord_spans(bars: list[PlannedBar], clock: Clock, duration_s: float) -> Iterator[ChordSpan]:
    last = None
    for planned in bars:
        for beat, chord in enumerate(planned.bar.chords):
            start_s = clock.time_s(planned.bar.first_beat + beat)
            if chord != last and start_s < duration_s:
                yield ChordSpan(max(0.0, start_s), chord)
            last = chord


def _sections(bars: list[PlannedBar], clock: Clock, duration_s: float) -> Iterator[Section]:
    for planned in bars:
        start_s = clock.time_s(planned.bar.first_beat)
        if planned.index == 0 and start_s < duration_s:
            yield Section(max(0.0, start_s), planned.scoring.name)


def _humanised(rng: np.random.Generator, events: list[Event], clock: Clock, duration_s: float) -> Iterator[Note]:
    shifts_s = np.clip(rng.normal(0, _TIMING_S, len(events)), -3 * _TIMING_S, 3 * _TIMING_S)
    accents = rng.integers(-9, 10, len(events))
    vowels = rng.integers(len(VOWELS), size=len(events))
    for event, shift_s, louder, vowel in zip(events, shifts_s, accents, vowels, strict=True):
        start_s = clock.time_s(event.position) + float(shift_s)
        # A note tied over from before the audio begins sounds from its first sample, unless little of it is left.
        stop_s = min(clock.time_s(event.position + event.length * 0.98), duration_s)
        if stop_s - max(0.0, start_s) < (0.04 if start_s >= 0 else 0.3):
            continue
        yield Note(
            start_s=max(0.0, start_s),
            duration_s=stop_s - max(0.0, start_s),
            pitch=event.pitch,
            velocity=int(np.clip(event.velocity + louder, 1, 127)),
            instrument=event.instrument,
            gain=event.gain,
            sung=replace(event.sung, vowel=VOWELS[vowel]) if event.sung else None,
        )


def _humanised_strokes(
    rng: np.random.Generator, strokes: list[DrumEvent], clock: Clock, duration_s: float
) -> Iterator[Stroke]:
    shifts_s = np.clip(rng.normal(0, _TIMING_S, len(strokes)), -3 * _TIMING_S, 3 * _TIMING_S)
    accents = rng.integers(-12, 13, len(strokes))
    for stroke, shift_s, louder in zip(strokes, shifts_s, accents, strict=True):
        start_s = clock.time_s(stroke.position) + float(shift_s)
        if 0 <= start_s < duration_s:
            velocity = int(np.clip(stroke.velocity + louder, 1, 127))
            yield Stroke(start_s=start_s, piece=stroke.piece, velocity=velocity)
