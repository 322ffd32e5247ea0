"""Turns scores and single notes into waveforms: additive tones, noise drums, a small room and a soft limit.

Conventions:
    Waveforms are float32, mono, [-1, 1]. A tone is rendered once per (instrument, pitch, layer, length) and kept.
    The sound of a score is the same on one machine; other machines may differ in the last bits, never in a label.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Complex64, Float32, Float64

from ray_musicssl.demo.drums import STROKE_GAIN, stroke_waveform
from ray_musicssl.demo.instruments import Instrument
from ray_musicssl.demo.score import Note, Score
from ray_musicssl.demo.timbre import Timbre, timbre_of
from ray_musicssl.demo.voice import sung_waveform

Wave = Float32[np.ndarray, " samples"]
_HIGHEST_HZ = 7600.0  # below the Nyquist frequency of every rate we write, so that all rates sound alike
_LENGTH_STEP_S = 0.04  # lengths are rounded up to this, so that a song needs few different tones
_LAYERS = (0.8, 0.9, 1.0)  # how much of partial n + 1 a soft, medium and loud tone keeps, over partial n
_TONES_KEPT = 768
_TONE_GAIN = 0.3


def frequency_hz(pitch: int) -> float:
    """The frequency of a MIDI pitch in equal temperament, A4 = 440 Hz."""
    return 440.0 * 2 ** ((pitch - 69) / 12)


@lru_cache(maxsize=_TONES_KEPT)
def tone_waveform(instrument: Instrument, pitch: int, layer: int, held_samples: int, sample_rate: int) -> Wave:
    """A tone held for some samples, with its release after them; about unit power while it is held.

    Args:
        instrument: the program.
        pitch: MIDI pitch.
        layer: 0 soft, 1 medium, 2 loud: louder is brighter.
        held_samples: samples before the release.
        sample_rate: in Hz.
    """
    timbre = timbre_of(instrument)
    num_samples = held_samples + round(timbre.release_s * sample_rate)
    time_s = np.arange(num_samples) / sample_rate
    hz = frequency_hz(pitch)
    amplitudes = timbre.amplitudes(hz, min(_HIGHEST_HZ, 0.475 * sample_rate))
    amplitudes = amplitudes * _LAYERS[layer] ** np.arange(len(amplitudes))
    cycles = hz * time_s
    if timbre.vibrato:
        # Vibrato grows in after the attack, as a player's does.
        depth = timbre.vibrato * hz / (2 * np.pi * timbre.vibrato_hz)
        seconds = time_s.astype(np.float32)
        swell = np.minimum(seconds * np.float32(depth / 0.3), np.float32(depth))
        cycles -= swell * np.cos(np.float32(2 * np.pi * timbre.vibrato_hz) * seconds)
    wave = _partials(_phasor(cycles, timbre.damping_per_s * time_s), amplitudes)
    if timbre.detune:
        second = _partials(_phasor(cycles * (1 + timbre.detune), timbre.damping_per_s * time_s), amplitudes)
        wave = (wave + second) * np.float32(0.7)
    wave += _extras(timbre, cycles, time_s, hz, pitch)
    if timbre.drive:
        wave = np.tanh(np.float32(timbre.drive) * wave)
    wave *= _envelope(timbre, time_s, held_samples, sample_rate)
    wave.setflags(write=False)
    return wave


def _angle(cycles: Float64[np.ndarray, " samples"]) -> Wave:
    """The angle in radians; whole turns are dropped before the precision is."""
    return (cycles - np.floor(cycles)).astype(np.float32) * np.float32(2 * np.pi)


def _phasor(
    cycles: Float64[np.ndarray, " samples"], damping: Float64[np.ndarray, " samples"]
) -> Complex64[np.ndarray, " samples"]:
    """exp(i 2 pi cycles - damping): partial n is the imaginary part of its n-th power."""
    angle = _angle(cycles)
    phasor = np.empty(len(angle), np.complex64)
    phasor.real, phasor.imag = np.cos(angle), np.sin(angle)
    if damping[-1] > 0:
        phasor *= np.exp(-damping.astype(np.float32))
    return phasor


def _partials(phasor: Complex64[np.ndarray, " samples"], amplitudes: Float64[np.ndarray, " partials"]) -> Wave:
    # Horner's rule: one complex product a partial instead of one sine.
    total = np.full(len(phasor), amplitudes[-1], np.complex64)
    for amplitude in amplitudes[-2::-1]:
        total *= phasor
        total += np.float32(amplitude)
    total *= phasor
    return np.ascontiguousarray(total.imag) * np.float32(np.sqrt(2))


def _extras(
    timbre: Timbre,
    cycles: Float64[np.ndarray, " samples"],
    time_s: Float64[np.ndarray, " samples"],
    hz: float,
    pitch: int,
) -> Wave:
    """What is not harmonic: breath noise and the bell partials of struck bars and tines."""
    extra = np.zeros(len(time_s), np.float32)
    if timbre.breath > 0.004:
        rng = np.random.Generator(np.random.PCG64([pitch, len(time_s)]))
        extra += (rng.random(len(time_s), dtype=np.float32) - 0.5) * np.float32(3.5 * timbre.breath)
    if timbre.bell:
        for order, ratio in enumerate(timbre.bell_ratios, start=1):
            if ratio * hz < _HIGHEST_HZ:
                level = np.exp(np.float32(-4 * order) * time_s.astype(np.float32)) * np.float32(timbre.bell / order)
                extra += np.sin(_angle(ratio * cycles)) * level
    return extra


def _envelope(timbre: Timbre, time_s: Float64[np.ndarray, " samples"], held_samples: int, sample_rate: int) -> Wave:
    seconds = time_s.astype(np.float32)
    envelope = np.float32(timbre.sustain) + np.float32(1 - timbre.sustain) * np.exp(
        np.float32(-timbre.decay_per_s) * seconds
    )
    rise = min(max(1, round(timbre.attack_s * sample_rate)), len(envelope))
    envelope[:rise] *= np.linspace(0, 1, rise, endpoint=False, dtype=np.float32)
    fall = len(envelope) - held_samples
    envelope[held_samples:] *= np.linspace(1, 0, fall, dtype=np.float32) ** 2
    return envelope


def render_score(score: Score, sample_rate: int, rng: np.random.Generator) -> Wave:
    """Render a score.

    Args:
        score: what to play.
        sample_rate: in Hz.
        rng: draws the recording's own traits: room, colour, level and noise floor.
    """
    mix = np.zeros(round(score.duration_s * sample_rate), np.float32)
    _add_notes(mix, score.notes, sample_rate)
    for stroke in score.strokes:
        wave = stroke_waveform(score.kit, stroke.piece, sample_rate)
        gain = STROKE_GAIN[stroke.piece] * score.drum_level * (stroke.velocity / 127) ** 1.5
        _add(mix, wave, stroke.start_s * sample_rate, gain)
    return record(_in_a_room(mix, sample_rate, rng), score.drive, rng)


def render_phrase(notes: Sequence[Note], duration_s: float, sample_rate: int, rng: np.random.Generator) -> Wave:
    """Render what a voice sings alone, in a dry room."""
    mix = np.zeros(round(duration_s * sample_rate), np.float32)
    _add_notes(mix, notes, sample_rate)
    return record(mix, 0.5, rng)


def render_tone(
    instrument: Instrument, *, pitch: int, velocity: int, duration_s: float, sample_rate: int, rng: np.random.Generator
) -> Wave:
    """Render one tone as NSynth records it: held for three quarters of the time, then released."""
    mix = np.zeros(round(duration_s * sample_rate), np.float32)
    layer = 0 if velocity < 60 else 1 if velocity < 110 else 2
    wave = tone_waveform(instrument, pitch, layer, round(0.75 * duration_s * sample_rate), sample_rate)
    _add(mix, wave, 0.0, 0.25 + 0.75 * velocity / 127)
    return record(mix, 0.5, rng)


def _add_notes(mix: Wave, notes: Sequence[Note], sample_rate: int) -> None:
    for note in notes:
        length = -(-int(note.duration_s * 1000) // int(_LENGTH_STEP_S * 1000)) * _LENGTH_STEP_S
        held_samples = round(length * sample_rate)
        if note.sung:
            wave = sung_waveform(note.sung, frequency_hz(note.pitch), held_samples, sample_rate)
        else:
            layer = 0 if note.velocity < 84 else 1 if note.velocity < 98 else 2
            wave = tone_waveform(note.instrument, note.pitch, layer, held_samples, sample_rate)
        _add(mix, wave, note.start_s * sample_rate, _TONE_GAIN * note.gain * note.velocity / 127)


def _add(mix: Wave, wave: Wave, start: float, gain: float) -> None:
    first = round(start)
    stop = min(len(mix), first + len(wave))
    if stop > first:
        mix[first:stop] += wave[: stop - first] * np.float32(gain)


def _in_a_room(mix: Wave, sample_rate: int, rng: np.random.Generator) -> Wave:
    """Three early echoes, and a tilt of the spectrum as every desk and microphone has one."""
    wet = mix.copy()
    amount = rng.uniform(0.02, 0.3)
    for delay_s in rng.uniform(0.012, 0.09, 3):
        delay = round(delay_s * sample_rate)
        wet[delay:] += mix[: len(mix) - delay] * np.float32(amount * rng.uniform(0.4, 1.0))
    # A tilt acts on the same frequencies at any rate if its neighbour lies a fixed time away.
    lag = max(1, round(sample_rate / 16_000))
    tilted = wet.copy()
    tilted[lag:] += wet[:-lag] * np.float32(rng.uniform(-0.45, 0.7))
    return tilted


def record(mix: Wave, drive: float, rng: np.random.Generator) -> Wave:
    """Put a mix on tape: soft clipping, a peak of -6 to 0 dB, and a noise floor of -70 to -50 dB."""
    peak = float(np.abs(mix).max(initial=0.0)) or 1.0
    taped = np.tanh(mix * np.float32(drive / peak))
    level = 10 ** (rng.uniform(-6, 0) / 20) * 0.98 / np.tanh(drive)
    floor = 10 ** (rng.uniform(-70, -50) / 20)
    taped *= np.float32(level)
    # Uniform noise of unit width has a standard deviation of 1 / sqrt(12).
    taped += (rng.random(len(mix), dtype=np.float32) - np.float32(0.5)) * np.float32(floor * np.sqrt(12))
    return np.clip(taped, -1, 1, out=taped)
