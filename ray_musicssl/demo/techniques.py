"""The ten ways of singing, each as a departure from a straight tone."""

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Way:
    """What a technique does to a voice. The defaults are a straight tone; what is named `times` multiplies."""

    vibrato_times: float = 0.06  # of the singer's own depth
    jitter_times: float = 1.0
    tilt: float = 0.0  # added to the exponent by which partials fall
    breath: float = 0.0  # noise added beside a voice of level 1
    first_formant_times: float = 1.0
    lowpass_hz: float = 9000.0  # what the lips let through
    trill_cents: float = 0.0  # up to a neighbouring tone and back
    gate: float = 0.0  # how far the glottis closes between repeated tones, 0 to 1
    flutter: float = 0.0  # how far the lips close at their own rate, 0 to 1
    shift_cents: float = 0.0  # of the written pitch
    glide_cents: float = 0.0  # down over the tone, as speech falls
    fry: float = 0.0  # 0: the written pitch, 1: single pulses some 25 to 60 times a second
    swell: float = 0.0  # how much louder the end is than the beginning, 0 to 1


# Source: what VocalSet's authors and teachers of singing describe; the sizes are our own ear's.
WAYS: Mapping[str, Way] = {
    "belt": Way(vibrato_times=0.4, tilt=-0.45, first_formant_times=1.25),
    "breathy": Way(vibrato_times=0.15, tilt=0.5, breath=0.7),
    "inhaled": Way(jitter_times=7.0, tilt=0.2, breath=0.5, shift_cents=250, swell=0.8),
    "lip_trill": Way(tilt=0.5, breath=0.08, flutter=0.85, lowpass_hz=1500.0),
    "spoken": Way(jitter_times=3.0, tilt=0.15, breath=0.05, shift_cents=-400, glide_cents=500),
    "straight": Way(),
    "trill": Way(trill_cents=200),
    "trillo": Way(gate=0.95),
    "vibrato": Way(vibrato_times=1.0),
    "vocal_fry": Way(jitter_times=8.0, tilt=-0.15, breath=0.06, fry=1.0),
}


def way_of(technique: str, strength: float) -> Way:
    """A technique done with some strength, from 0 (straight) to 1."""
    full, straight = WAYS[technique], WAYS["straight"]
    mixed = {
        field.name: getattr(straight, field.name) * (1 - strength) + getattr(full, field.name) * strength
        for field in fields(Way)
    }
    return Way(**mixed)


def keeps_pitch(technique: str) -> bool:
    """Whether what is heard is the written pitch; speech, fry and inhaled tones leave it."""
    return not WAYS[technique].shift_cents and not WAYS[technique].fry
