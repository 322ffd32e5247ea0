"""Tiny audio files."""

from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def write_audio():
    """Writes `duration_s` of noise, another one for every path; the format follows the suffix."""

    def write(path: Path, duration_s: float = 1.5, sample_rate: int = 8000) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(list(str(path).encode())).uniform(-0.1, 0.1, round(duration_s * sample_rate))
        soundfile.write(path, noise, sample_rate, format="WAV" if path.suffix == ".mp3" else None)
        return path

    return write
