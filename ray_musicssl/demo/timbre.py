"""How each program sounds: partials, envelope, breath and grit, drawn once per program inside its family's ranges.

Conventions:
    A program's timbre is a function of its name alone: the same in every corpus, set and split.
    Partial n has amplitude n^-tilt, shaped by resonances that stay where they are when the pitch moves.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float64

from ray_musicssl.demo.instruments import FAMILIES, NUM_PROGRAMS, Instrument

NUM_PARTIALS = 20
_TIMBRE_SEED = 20_230_712  # of every timbre; unlike the corpus's seed it never changes
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class FamilyTimbre:
    """The ranges inside which a family's programs are drawn."""

    tilt: Range  # exponent by which partials fall
    attack_s: Range
    decay_per_s: Range  # of the whole tone towards `sustain`
    sustain: Range  # 0: plucked or struck, 1: bowed or blown
    even: Range = (0.8, 1.0)  # gain of even partials
    damping_per_s: Range = (0.0, 0.3)  # extra decay of partial n, times n
    release_s: Range = (0.04, 0.12)
    vibrato: Range = (0.0, 0.0)  # depth in parts of the frequency
    breath: Range = (0.0, 0.01)  # noise beside a tone of level 1
    drive: Range = (0.0, 0.0)  # 0: clean
    detune: Range = (0.0, 0.0)  # of a second voice, in parts of the frequency
    bell: Range = (0.0, 0.0)  # level of inharmonic partials
    num_resonances: int = 2


# Source: our own ear; the order of magnitude of each is that of the acoustic instrument.
FAMILY_TIMBRES = {
    "bass": FamilyTimbre(
        tilt=(1.0, 2.2), attack_s=(0.004, 0.012), decay_per_s=(1.0, 4.0), sustain=(0.1, 0.6), damping_per_s=(0.2, 1.2)
    ),
    "brass": FamilyTimbre(
        tilt=(0.5, 1.1),
        attack_s=(0.02, 0.06),
        decay_per_s=(1, 4),
        sustain=(0.7, 0.95),
        vibrato=(0.0, 0.004),
        breath=(0.005, 0.02),
    ),
    "flute": FamilyTimbre(
        tilt=(1.8, 2.8),
        attack_s=(0.03, 0.08),
        decay_per_s=(1, 3),
        sustain=(0.8, 1.0),
        vibrato=(0.002, 0.007),
        breath=(0.04, 0.12),
    ),
    "guitar": FamilyTimbre(
        tilt=(0.8, 1.6), attack_s=(0.002, 0.006), decay_per_s=(1.5, 5), sustain=(0.0, 0.1), damping_per_s=(0.2, 0.9)
    ),
    "keyboard": FamilyTimbre(
        tilt=(1.1, 2.0),
        attack_s=(0.002, 0.008),
        decay_per_s=(1.0, 3.5),
        sustain=(0.0, 0.15),
        damping_per_s=(0.1, 0.6),
        bell=(0.0, 0.12),
    ),
    "mallet": FamilyTimbre(
        tilt=(2.2, 3.4), attack_s=(0.001, 0.003), decay_per_s=(2.5, 8), sustain=(0.0, 0.0), bell=(0.15, 0.6)
    ),
    "organ": FamilyTimbre(
        tilt=(0.6, 1.4),
        attack_s=(0.006, 0.02),
        decay_per_s=(0.5, 1),
        sustain=(0.95, 1.0),
        damping_per_s=(0.0, 0.0),
        detune=(0.001, 0.004),
        num_resonances=4,
    ),
    "reed": FamilyTimbre(
        tilt=(0.7, 1.3),
        attack_s=(0.015, 0.05),
        decay_per_s=(1, 3),
        sustain=(0.75, 1.0),
        even=(0.05, 0.8),
        vibrato=(0.0, 0.006),
        breath=(0.01, 0.04),
        num_resonances=3,
    ),
    "string": FamilyTimbre(
        tilt=(0.8, 1.3),
        attack_s=(0.03, 0.1),
        decay_per_s=(0.5, 2),
        sustain=(0.8, 1.0),
        release_s=(0.08, 0.25),
        vibrato=(0.003, 0.008),
        breath=(0.005, 0.02),
        detune=(0.002, 0.006),
        num_resonances=4,
    ),
    "synth_lead": FamilyTimbre(
        tilt=(0.4, 1.1),
        attack_s=(0.003, 0.02),
        decay_per_s=(1, 6),
        sustain=(0.4, 0.9),
        even=(0.0, 1.0),
        detune=(0.004, 0.01),
        num_resonances=1,
    ),
    "vocal": FamilyTimbre(
        tilt=(0.9, 1.5),
        attack_s=(0.03, 0.08),
        decay_per_s=(0.5, 2),
        sustain=(0.85, 1.0),
        vibrato=(0.005, 0.015),
        breath=(0.01, 0.05),
        num_resonances=5,
    ),
}
_OVERDRIVEN_GUITARS = {4: 1.5, 5: 3.0, 6: 6.0, 7: 9.0}


@dataclass(frozen=True, kw_only=True)
class Resonance:
    """A hump in the spectrum."""

    centre_hz: float
    width_hz: float
    gain: float


@dataclass(frozen=True, kw_only=True)
class Timbre:
    """One program's numbers; the fields are those of `FamilyTimbre`, drawn."""

    partials: tuple[float, ...]  # relative amplitudes before resonances
    resonances: tuple[Resonance, ...]
    attack_s: float
    decay_per_s: float
    sustain: float
    damping_per_s: float
    release_s: float
    vibrato: float
    vibrato_hz: float
    breath: float
    drive: float
    detune: float
    bell: float
    bell_ratios: tuple[float, ...]

    def amplitudes(self, frequency_hz: float, highest_hz: float) -> Float64[np.ndarray, " partials"]:
        """Amplitudes of the partials of a tone, of unit power; those above `highest_hz` are left out."""
        count = max(1, min(NUM_PARTIALS, int(highest_hz / frequency_hz)))
        partial_hz = frequency_hz * np.arange(1, count + 1)
        gains = 0.15 + sum(
            resonance.gain * np.exp(-(((partial_hz - resonance.centre_hz) / resonance.width_hz) ** 2))
            for resonance in self.resonances
        )
        shaped = np.asarray(self.partials[:count]) * gains
        return shaped / np.sqrt((shaped**2).sum())


@cache
def timbre_of(instrument: Instrument) -> Timbre:
    """The timbre of a program."""
    family = FAMILY_TIMBRES[instrument.family]
    number = FAMILIES.index(instrument.family) * NUM_PROGRAMS + instrument.program
    rng = np.random.Generator(np.random.PCG64([_TIMBRE_SEED, number]))
    order = np.arange(1, NUM_PARTIALS + 1)
    partials = order ** -rng.uniform(*family.tilt) * np.exp(rng.normal(0, 0.45, NUM_PARTIALS))
    partials[1::2] *= rng.uniform(*family.even)
    partials[0] = max(partials[0], 0.5)  # the fundamental is what makes the pitch heard
    resonances = tuple(
        Resonance(
            centre_hz=float(200 * 20 ** rng.random()),
            width_hz=float(rng.uniform(150, 900)),
            gain=float(rng.uniform(0.5, 2.0)),
        )
        for _ in range(family.num_resonances)
    )
    drive = _OVERDRIVEN_GUITARS.get(instrument.program, 0.0) if instrument.family == "guitar" else 0.0
    return Timbre(
        partials=tuple(partials.tolist()),
        resonances=resonances,
        attack_s=rng.uniform(*family.attack_s),
        decay_per_s=rng.uniform(*family.decay_per_s),
        # An overdriven string rings on: the amplifier lifts its tail.
        sustain=max(rng.uniform(*family.sustain), 0.5 if drive else 0.0),
        damping_per_s=rng.uniform(*family.damping_per_s),
        release_s=rng.uniform(*family.release_s),
        vibrato=rng.uniform(*family.vibrato),
        vibrato_hz=rng.uniform(4.5, 6.5),
        breath=rng.uniform(*family.breath),
        drive=drive,
        detune=rng.uniform(*family.detune),
        bell=rng.uniform(*family.bell),
        bell_ratios=tuple(np.sort(rng.uniform(2.1, 9.5, 3)).tolist()),
    )
