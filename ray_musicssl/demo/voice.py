"""Sings one tone: the pulses of a glottis under the formants of a throat, with breath beside them.

Conventions:
    Waveforms are float32, mono, about unit power while the tone is held. A tone is a function of its arguments.
    The pitch is drawn at 200 Hz and the sound read from one period of the voice: cost does not grow with partials.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64

from ray_musicssl.demo.score import Sung
from ray_musicssl.demo.techniques import Way, way_of
from ray_musicssl.demo.voices import COLOUR_HZ, TECHNIQUES, VOWELS, Singer, singer

Wave = Float32[np.ndarray, " samples"]
Frames = Float64[np.ndarray, " frames"]
# Source: mean formants of men in Peterson and Barney 1952 for the first three; the others are usual values of singers.
_FORMANTS_HZ = {
    "a": (730, 1090, 2440, 3400, 4500),
    "e": (530, 1840, 2480, 3500, 4500),
    "i": (270, 2290, 3010, 3600, 4600),
    "o": (570, 840, 2410, 3300, 4400),
    "u": (300, 870, 2240, 3200, 4300),
}
_FORMANT_LEVELS = (1.0, 0.6, 0.35, 0.3, 0.15)
_NEXT_VOWEL = {"a": "i", "e": "a", "i": "o", "o": "e", "u": "a"}  # whereto speech moves within a syllable
_CONTROL_HZ = 200.0
_PERIOD = 4096  # samples of the stored period
_HIGHEST_HZ = 7600.0
_RELEASE_S = 0.05
_ATTACK_S = 0.03
_TONES_KEPT = 128
_FRY_HZ = (28.0, 55.0)


@dataclass(frozen=True)
class _Throat:
    """Somebody's throat, lips and microphone, on one vowel of one technique."""

    person: Singer
    way: Way
    vowel: str

    def gain(self, frequencies_hz: Float64[np.ndarray, " frequencies"]) -> Float64[np.ndarray, " frequencies"]:
        """How much of some frequencies comes through."""
        person, way = self.person, self.way
        gain = np.full(len(frequencies_hz), 0.02)
        for number, (centre_hz, level) in enumerate(zip(_FORMANTS_HZ[self.vowel], _FORMANT_LEVELS, strict=True)):
            centre = centre_hz * person.tract * person.formants[number]
            centre *= way.first_formant_times if number == 0 else 1.0
            width = (45 + 0.04 * centre) * person.bandwidth
            gain += level / (1 + ((frequencies_hz - centre) / width) ** 2)
        colour_db = np.interp(np.log(np.maximum(frequencies_hz, 20)), np.log(COLOUR_HZ), person.colour_db)
        return gain * 10 ** (colour_db / 20) / np.sqrt(1 + (frequencies_hz / way.lowpass_hz) ** 4)


@lru_cache(maxsize=_TONES_KEPT)
def sung_waveform(sung: Sung, pitch_hz: float, held_samples: int, sample_rate: int) -> Wave:
    """A sung tone held for some samples, with its release after them.

    Args:
        sung: who sings, how, and on which vowel.
        pitch_hz: the written pitch; some techniques leave it.
        held_samples: samples before the release.
        sample_rate: in Hz.
    """
    person, way = singer(sung.singer), way_of(sung.technique, sung.strength)
    throat = _Throat(person, way, sung.vowel)
    num_samples = held_samples + round(_RELEASE_S * sample_rate)
    duration_s = num_samples / sample_rate
    # The same draws at every sample rate: the length counts in milliseconds.
    numbers = (sung.singer, TECHNIQUES.index(sung.technique), VOWELS.index(sung.vowel), round(pitch_hz))
    rng = np.random.Generator(np.random.PCG64([*numbers, round(1000 * duration_s)]))
    frame_s = np.arange(int(duration_s * _CONTROL_HZ) + 2) / _CONTROL_HZ
    voice_hz = _pitch(rng, person, way, pitch_hz, frame_s)
    level = _level(rng, way, frame_s)
    sample_frames = np.arange(num_samples) * (_CONTROL_HZ / sample_rate)
    cycles = np.interp(sample_frames, np.arange(len(frame_s)), np.cumsum(voice_hz) / _CONTROL_HZ)
    loudness = np.interp(sample_frames, np.arange(len(frame_s)), level).astype(np.float32)
    mean_hz = float(voice_hz.mean())
    wave = _read(_period(throat, mean_hz, sample_rate), cycles)
    if way.glide_cents:
        other = _read(_period(replace(throat, vowel=_NEXT_VOWEL[sung.vowel]), mean_hz, sample_rate), cycles)
        along = np.linspace(0, 1, num_samples, dtype=np.float32) * np.float32(min(1.0, way.glide_cents / 300))
        wave += (other - wave) * along
    wave += _breath(rng, throat, num_samples, sample_rate)
    wave *= loudness
    wave /= np.float32(np.sqrt(np.mean(wave[:held_samples] ** 2)) + 1e-9)
    _shape_ends(wave, held_samples, sample_rate)
    wave.setflags(write=False)
    return wave


def _pitch(rng: np.random.Generator, person: Singer, way: Way, pitch_hz: float, frame_s: Frames) -> Frames:
    """The frequency at every moment, in Hz."""
    cents = np.full(len(frame_s), way.shift_cents)
    cents -= 50 * np.exp(-frame_s / 0.035)  # voices reach for a tone from below
    cents -= way.glide_cents * (frame_s / frame_s[-1] - 0.3)
    steps = rng.normal(0, 1, len(frame_s))
    wander = np.convolve(steps, np.hanning(12) / np.sqrt(np.sum(np.hanning(12) ** 2)), mode="same")
    cents += wander * person.jitter_cents * way.jitter_times
    swing = np.sin(2 * np.pi * (person.vibrato_hz * frame_s + rng.random()))
    cents += person.vibrato_cents * way.vibrato_times * np.minimum(1, frame_s / 0.15) * swing
    if way.trill_cents:
        phase = 2 * np.pi * (rng.uniform(5.0, 7.0) * frame_s + rng.random())
        cents += way.trill_cents * (0.5 + 0.5 * np.tanh(4 * np.sin(phase)))
    voice_hz = pitch_hz * 2 ** (cents / 1200)
    if way.fry:
        pulses_hz = rng.uniform(*_FRY_HZ) * np.exp(rng.normal(0, 0.12, len(frame_s)))
        voice_hz = np.exp((1 - way.fry) * np.log(voice_hz) + way.fry * np.log(pulses_hz))
    return voice_hz


def _level(rng: np.random.Generator, way: Way, frame_s: Frames) -> Frames:
    """The loudness at every moment, near 1."""
    level = np.exp(rng.normal(0, 0.03, len(frame_s)))
    along = frame_s / frame_s[-1]
    level *= 1 - way.swell * (1 - along)
    if way.gate:
        # Repetitions of a trillo come faster and faster.
        turns = rng.uniform(5.0, 6.5) * frame_s * (1 + 0.3 * along) + rng.random()
        level *= 1 - way.gate * (0.5 + 0.5 * np.tanh(3 * np.sin(2 * np.pi * turns)))
    if way.flutter:
        level *= 1 - way.flutter * (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(19, 28) * frame_s))
    return level


def _period(throat: _Throat, voice_hz: float, sample_rate: int) -> Wave:
    """One period of the voice, of unit power."""
    highest = min(_HIGHEST_HZ, 0.475 * sample_rate)
    count = int(np.clip(highest / voice_hz, 1, _PERIOD // 4))
    order = np.arange(1, count + 1)
    # Below 100 Hz partials are many: the glottis' own slope counts from there, not from the pitch.
    source = np.maximum(order, 100 / voice_hz) ** -(throat.person.tilt + throat.way.tilt)
    spectrum = np.zeros(_PERIOD // 2 + 1, np.complex128)
    spectrum[1 : count + 1] = -1j * source * throat.gain(order * voice_hz)
    period = np.fft.irfft(spectrum)
    return (period / np.sqrt(np.mean(period**2))).astype(np.float32)


def _read(period: Wave, cycles: Float64[np.ndarray, " samples"]) -> Wave:
    """The period played at some speed, its samples joined by straight lines."""
    places = (cycles - np.floor(cycles)) * _PERIOD
    whole = places.astype(np.int64)
    rest = (places - whole).astype(np.float32)
    padded = np.append(period, period[:2])
    return padded[whole] + rest * (padded[whole + 1] - padded[whole])


def _breath(rng: np.random.Generator, throat: _Throat, num_samples: int, sample_rate: int) -> Wave:
    """The noise of breath through the same throat; it is brighter than the voice."""
    level = throat.person.breath + throat.way.breath
    # Lengths of few small factors transform fast.
    length = -(-num_samples // 1024) * 1024
    noise = rng.standard_normal(length, dtype=np.float32)
    frequencies_hz = np.fft.rfftfreq(length, 1 / sample_rate)
    gain = throat.gain(frequencies_hz) * np.sqrt(frequencies_hz / 1000 + 0.05)
    gain[frequencies_hz > _HIGHEST_HZ] = 0
    breath = np.fft.irfft(np.fft.rfft(noise) * gain, length)[:num_samples]
    return (breath * (level / np.sqrt(np.mean(breath**2)))).astype(np.float32)


def _shape_ends(wave: Wave, held_samples: int, sample_rate: int) -> None:
    rise = min(round(_ATTACK_S * sample_rate), held_samples)
    wave[:rise] *= np.linspace(0, 1, rise, endpoint=False, dtype=np.float32)
    wave[held_samples:] *= np.linspace(1, 0, len(wave) - held_samples, dtype=np.float32) ** 2
