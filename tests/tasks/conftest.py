"""Tiny audio files, and files that the system does not give."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ray_musicssl.tasks import locate


@pytest.fixture
def write_audio():
    """Writes `duration_s` of noise, another one for every path; the format follows the suffix."""

    def write(path: Path, duration_s: float = 1.5, sample_rate: int = 8000) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(list(str(path).encode())).uniform(-0.1, 0.1, round(duration_s * sample_rate))
        soundfile.write(path, noise, sample_rate, format="WAV" if path.suffix == ".mp3" else None)
        return path

    return write


@pytest.fixture
def lock(monkeypatch):
    """Makes the system refuse a path and what is below it, as mode 000 does, but to root too; or with another error."""

    def lock_path(locked: Path, error: int = errno.EACCES) -> Path:
        def refused(path: object, *, itself: bool) -> bool:
            if not isinstance(path, (str, os.PathLike)):
                return False
            return locked in Path(path).parents or (itself and Path(path) == locked)

        def guarded(function, *, itself):
            def call(path=".", *args, **kwargs):
                if refused(path, itself=itself):
                    raise OSError(error, os.strerror(error), str(path))
                return function(path, *args, **kwargs)

            return call

        def info(path, *, info=soundfile.info):
            if refused(path, itself=True):
                raise soundfile.LibsndfileError(2, prefix=f"Error opening {str(path)!r}: ")
            return info(path)

        locate._duration_s.cache_clear()  # what other tests have opened
        monkeypatch.setattr(os, "stat", guarded(os.stat, itself=False))
        for module, name in ((os, "listdir"), (os, "scandir"), (io, "open")):
            monkeypatch.setattr(module, name, guarded(getattr(module, name), itself=True))
        monkeypatch.setattr(soundfile, "info", info)
        return locked

    return lock_path
