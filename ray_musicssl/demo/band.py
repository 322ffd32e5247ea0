"""Who plays a piece: the instruments of its style, or one alone, and sometimes a singer in front."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from ray_musicssl.demo.instruments import ORCHESTRA, Instrument
from ray_musicssl.demo.parts import Voice
from ray_musicssl.demo.score import Sung
from ray_musicssl.demo.styles import Style
from ray_musicssl.demo.voices import SONG_SINGERS, TECHNIQUES, VOWELS, singer

Arrangement = Literal["band", "sung", "played", "solo", "voice"]
"""Who is there: the style's band with a singer now and then, surely, or never; one instrument alone; a voice alone."""

SINGERS_PROGRAM = Instrument("vocal", 0)  # what a sung note is counted to
# How often the lead of a band is sung.
_SUNG_ODDS = {"classical": 0.15, "jazz": 0.25, "metal": 0.35, "disco": 0.45, "pop": 0.5}
_USUAL_SUNG_ODDS = 0.35
# Songs are mostly sung in these ways, and now and then in any.
_SONG_TECHNIQUES = ("straight", "vibrato", "vibrato", "belt", "breathy")
_ANY_TECHNIQUE_ODDS = 0.15
T = TypeVar("T")


@dataclass(frozen=True)
class Band:
    """The players of one piece; of a solo, only the lead is there."""

    lead: Voice
    comp: Voice | None = None
    bass: Voice | None = None
    pad: Voice | None = None


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of some choices, all equally likely."""
    return choices[int(rng.integers(len(choices)))]


def draw_band(rng: np.random.Generator, style: Style, arrangement: Arrangement) -> Band:
    """The players of a piece."""
    if arrangement == "solo":
        played = tuple(instrument for instrument in ORCHESTRA if instrument.family != "vocal")
        family = pick(rng, sorted({instrument.family for instrument in played}))
        instrument = pick(rng, [instrument for instrument in played if instrument.family == family])
        lowest = 33 if family == "bass" else 50
        return Band(Voice(instrument=instrument, gain=0.8, lowest=lowest + int(rng.integers(12))))
    if arrangement == "voice":
        return Band(_singing_lead(rng, any_technique_odds=0.5))

    def voice(choices: Sequence[Instrument], gain: float, lowest: int, spread: int) -> Voice:
        return Voice(
            instrument=pick(rng, choices),
            gain=gain * rng.uniform(0.75, 1.25),
            lowest=lowest + int(rng.integers(spread)),
        )

    comp = voice(style.comp_instruments, 0.42, 51, 8)
    bass = voice(style.bass_instruments, 0.85, 28, 8)
    lead = voice(style.lead_instruments, 0.75, 58, 12)
    has_pad = bool(style.pad_instruments) and rng.random() < 0.7
    pad = voice(style.pad_instruments, 0.22, 55, 8) if has_pad else None
    draw = rng.random()
    if arrangement == "sung" or (arrangement == "band" and draw < _SUNG_ODDS.get(style.name, _USUAL_SUNG_ODDS)):
        lead = _singing_lead(rng, any_technique_odds=_ANY_TECHNIQUE_ODDS)
    if arrangement == "played":
        lead = _without_voices(rng, lead, style.comp_instruments)
        pad = None if pad and pad.instrument.family == "vocal" else pad
    return Band(lead, comp, bass, pad)


def _singing_lead(rng: np.random.Generator, *, any_technique_odds: float) -> Voice:
    number = pick(rng, SONG_SINGERS)
    any_technique = rng.random() < any_technique_odds
    technique = pick(rng, TECHNIQUES if any_technique else _SONG_TECHNIQUES)
    return Voice(
        instrument=SINGERS_PROGRAM,
        gain=0.85 * rng.uniform(0.75, 1.25),
        # The tune also goes a little below its octave.
        lowest=singer(number).lowest + 3,
        sung=Sung(singer=number, technique=technique, vowel=VOWELS[0], strength=rng.uniform(0.5, 1.0)),
    )


def _without_voices(rng: np.random.Generator, lead: Voice, others: Sequence[Instrument]) -> Voice:
    if lead.instrument.family != "vocal":
        return lead
    return Voice(instrument=pick(rng, others), gain=lead.gain, lowest=lead.lowest)
