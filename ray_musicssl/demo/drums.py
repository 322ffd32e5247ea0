"""Drums from noise and falling sines; a kit is a number, and every kit sounds different."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32

_KIT_SEED = 51_515


@dataclass(frozen=True, kw_only=True)
class Piece:
    """How a piece of the kit sounds; a kit scales each number by its own factor near 1."""

    length_s: float
    noise: float  # level of noise
    noise_decay_per_s: float
    brightness: float = 0.0  # 0 white to 1: only the differences between neighbouring samples
    tone: float = 0.0  # level of the skin's tone
    tone_hz: float = 0.0
    tone_sweep: float = 0.0  # how many times higher the tone begins
    tone_decay_per_s: float = 1.0


PIECES = {
    "kick": Piece(
        length_s=0.3, noise=0.12, noise_decay_per_s=150, tone=1.0, tone_hz=52, tone_sweep=3.0, tone_decay_per_s=13
    ),
    "snare": Piece(
        length_s=0.25,
        noise=0.9,
        noise_decay_per_s=18,
        brightness=0.3,
        tone=0.5,
        tone_hz=190,
        tone_sweep=0.3,
        tone_decay_per_s=22,
    ),
    "clap": Piece(length_s=0.2, noise=1.0, noise_decay_per_s=22, brightness=0.55),
    "rim": Piece(
        length_s=0.08, noise=0.4, noise_decay_per_s=90, brightness=0.5, tone=0.8, tone_hz=900, tone_decay_per_s=60
    ),
    "hat": Piece(length_s=0.08, noise=1.0, noise_decay_per_s=60, brightness=1.0),
    "open": Piece(length_s=0.35, noise=1.0, noise_decay_per_s=10, brightness=1.0),
    "ride": Piece(
        length_s=0.5, noise=0.6, noise_decay_per_s=9, brightness=1.0, tone=0.12, tone_hz=3100, tone_decay_per_s=7
    ),
    "crash": Piece(length_s=1.0, noise=1.0, noise_decay_per_s=4, brightness=0.8),
    "shaker": Piece(length_s=0.07, noise=0.8, noise_decay_per_s=45, brightness=0.9),
    "tom": Piece(
        length_s=0.35, noise=0.15, noise_decay_per_s=40, tone=1.0, tone_hz=110, tone_sweep=0.6, tone_decay_per_s=9
    ),
}
STROKE_GAIN = {
    "kick": 0.9,
    "snare": 0.5,
    "clap": 0.45,
    "rim": 0.45,
    "hat": 0.22,
    "open": 0.22,
    "ride": 0.2,
    "crash": 0.3,
    "shaker": 0.16,
    "tom": 0.5,
}


@lru_cache(maxsize=256)
def stroke_waveform(kit: int, name: str, sample_rate: int) -> Float32[np.ndarray, " samples"]:
    """One stroke on a piece of a kit, of peak 1."""
    piece = PIECES[name]
    rng = np.random.Generator(np.random.PCG64([_KIT_SEED, kit, list(PIECES).index(name)]))
    pitch, decay, colour = rng.uniform(0.8, 1.25), rng.uniform(0.7, 1.5), rng.uniform(0.7, 1.0)
    time_s = np.arange(round(piece.length_s * sample_rate)) / sample_rate
    white = rng.uniform(-1, 1, len(time_s) + 1)
    noise = white[1:] - piece.brightness * colour * white[:-1]
    wave = piece.noise * noise * np.exp(-decay * piece.noise_decay_per_s * time_s)
    if piece.tone:
        # The pitch falls within some 30 ms to where it stays.
        cycles = piece.tone_hz * pitch * (time_s + piece.tone_sweep * 0.03 * (1 - np.exp(-time_s / 0.03)))
        wave += piece.tone * np.sin(2 * np.pi * cycles) * np.exp(-decay * piece.tone_decay_per_s * time_s)
    # The last few milliseconds fade, so that the cut does not click.
    fade = min(len(wave), round(0.01 * sample_rate))
    wave[-fade:] *= np.linspace(1, 0, fade)
    wave = (wave / np.abs(wave).max()).astype(np.float32)
    wave.setflags(write=False)
    return wave
