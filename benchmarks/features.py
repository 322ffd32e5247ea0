"""Target features beside their peers, from the same music, each on one thread.

    python -m benchmarks.features                      # every table; Markdown on stdout
    python -m benchmarks.features --only mfcc --rounds 5 --json features.json

Conventions:
    Four pieces of 30 s at 16 kHz, composed and rendered as the demo's are; every case takes them one after the other.
    Peers are given our hop and window where they have a say, and a known tuning: none of them has to estimate it.
    A case that is not the same function is called so. Items are seconds of audio.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare import Case, Step, Timing, as_json, compare, markdown, write_results
from ray_musicssl.audio.frames import SAMPLE_RATE
from ray_musicssl.demo.compose import compose
from ray_musicssl.demo.synth import render_score

STYLES = ("pop", "disco", "jazz", "metal")
CLIP_S = 30.0
HOP = 320
WINDOW = 4096  # 0.256 s
LOWEST_HZ = 65.406  # C2, MIDI note 36


def ours(audio: Path, section: Mapping[str, Any]) -> Step:
    """One of our features."""
    import torch
    from pydantic import TypeAdapter

    from ray_musicssl.config.feature import FeatureConfig
    from ray_musicssl.features.base import make_feature

    torch.set_num_threads(1)
    feature = make_feature(TypeAdapter(FeatureConfig).validate_python(section))
    clips = [torch.from_numpy(clip) for clip in np.load(audio)]
    return lambda: _size([feature(clip) for clip in clips])


def torchaudio_kaldi(audio: Path, kind: str) -> Step:
    """The Kaldi front end that recipes use: `mfcc` with deltas, or `fbank`."""
    import torch
    from torchaudio.compliance import kaldi
    from torchaudio.functional import compute_deltas

    torch.set_num_threads(1)
    clips = [torch.from_numpy(clip)[None] for clip in np.load(audio)]
    if kind == "fbank":
        return lambda: _size([kaldi.fbank(clip, num_mel_bins=80, dither=0.0) for clip in clips])

    def frames(clip: torch.Tensor) -> torch.Tensor:
        cepstra = kaldi.mfcc(clip, num_ceps=13, dither=0.0).T
        first = compute_deltas(cepstra)
        return torch.cat([cepstra, first, compute_deltas(first)]).T

    return lambda: _size([frames(clip) for clip in clips])


def torchaudio_transform(audio: Path) -> Step:
    """Torchaudio's MFCC transform with deltas."""
    import torch
    from torchaudio.functional import compute_deltas
    from torchaudio.transforms import MFCC

    torch.set_num_threads(1)
    spectrum = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 23, "center": False}
    transform = MFCC(sample_rate=SAMPLE_RATE, n_mfcc=13, log_mels=True, melkwargs=spectrum)
    clips = [torch.from_numpy(clip) for clip in np.load(audio)]

    def frames(clip: torch.Tensor) -> torch.Tensor:
        cepstra = transform(clip)
        first = compute_deltas(cepstra)
        return torch.cat([cepstra, first, compute_deltas(first)]).T

    return lambda: _size([frames(clip) for clip in clips])


def librosa_feature(audio: Path, kind: str, settings: Mapping[str, Any]) -> Step:
    """A function of librosa."""
    import librosa

    clips = list(np.load(audio))
    functions: dict[str, Callable[..., Any]] = {
        "mfcc": _librosa_mfcc,
        "logmel": lambda y, **given: librosa.power_to_db(librosa.feature.melspectrogram(y=y, **given)),
        "chroma_stft": librosa.feature.chroma_stft,
        "chroma_cqt": librosa.feature.chroma_cqt,
        "cqt": lambda y, **given: np.abs(librosa.cqt(y, **given)),
    }
    return lambda: _size([functions[kind](y=clip, sr=SAMPLE_RATE, **settings).T for clip in clips])


def _librosa_mfcc(**settings: Any) -> np.ndarray:
    import librosa

    cepstra = librosa.feature.mfcc(n_mfcc=13, **settings)
    deltas = [librosa.feature.delta(cepstra, width=5, order=order) for order in (1, 2)]
    return np.concatenate([cepstra, *deltas])


def _size(clips: Sequence[Any]) -> Mapping[str, float]:
    return {"frames": sum(len(clip) for clip in clips), "dim": clips[0].shape[1]}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case of a table."""

    name: str
    prepare: Callable[..., Step]
    arguments: Mapping[str, Any]
    is_peer: bool = True


def _ours(**section: Any) -> Row:
    words = ", ".join(f"{key}={value}" for key, value in section.items() if key != "name")
    name = f"ours {section['name']}" + (f" ({words})" if words else "")
    return Row(name=name, prepare=ours, arguments={"section": section})


def _librosa(name: str, kind: str, *, is_peer: bool = True, **settings: Any) -> Row:
    arguments = {"kind": kind, "settings": settings}
    return Row(name=f"librosa {name}", prepare=librosa_feature, arguments=arguments, is_peer=is_peer)


_SHORT = {"n_fft": 512, "win_length": 400, "hop_length": 160, "center": False}
_NOTES = {"hop_length": HOP, "fmin": LOWEST_HZ, "tuning": 0.0}
TABLES: Mapping[str, tuple[Row, ...]] = {
    "mfcc": (
        _ours(name="mfcc"),
        Row(name="torchaudio kaldi.mfcc + deltas", prepare=torchaudio_kaldi, arguments={"kind": "mfcc"}),
        Row(name="torchaudio MFCC + deltas (not Kaldi's)", prepare=torchaudio_transform, arguments={}),
        _librosa("mfcc + deltas (not Kaldi's)", "mfcc", n_mels=23, **_SHORT),
    ),
    "logmel": (
        _ours(name="logmel"),
        Row(name="torchaudio kaldi.fbank", prepare=torchaudio_kaldi, arguments={"kind": "fbank"}),
        _librosa("melspectrogram, dB (not Kaldi's)", "logmel", n_mels=80, **_SHORT),
    ),
    "chroma": (
        _ours(name="chroma"),
        _librosa("chroma_stft", "chroma_stft", n_fft=WINDOW, hop_length=HOP, tuning=0.0),
        _ours(name="semitone"),
    ),
    "chroma of cqt": (
        _ours(name="chroma", spectrum="cqt"),
        _librosa("chroma_cqt, 12 bins an octave", "chroma_cqt", bins_per_octave=12, n_octaves=5, **_NOTES),
        _librosa("chroma_cqt, its 36 bins an octave", "chroma_cqt", bins_per_octave=36, n_octaves=5, **_NOTES),
    ),
    "cqt": (
        _ours(name="cqt"),
        _librosa("cqt", "cqt", n_bins=72, bins_per_octave=12, **_NOTES),
    ),
    "cqt, 36 bins an octave": (
        _ours(name="cqt", num_bins=216, bins_per_octave=36),
        _librosa("cqt", "cqt", n_bins=216, bins_per_octave=36, **_NOTES),
    ),
}


def write_audio(path: Path) -> None:
    """Render the pieces, `[pieces, samples]` float32."""
    scores = [compose(20, index, style, CLIP_S) for index, style in enumerate(STYLES)]
    waves = [render_score(score, SAMPLE_RATE, np.random.default_rng(20)) for score in scores]
    np.save(path, np.stack([wave[: round(CLIP_S * SAMPLE_RATE)] for wave in waves]).astype(np.float32))


def cases(title: str, audio: Path) -> list[Case]:
    """The cases of one table."""
    seconds = CLIP_S * len(STYLES)
    return [
        Case(
            name=row.name,
            prepare=row.prepare,
            arguments={"audio": audio, **row.arguments},
            num_items=seconds,
            is_ours=row.prepare is ours,
            is_peer=row.is_peer,
        )
        for row in TABLES[title]
    ]


def ratios(timings: Sequence[Timing]) -> Iterator[str]:
    """How much faster our first case is than every peer."""
    first = timings[0]
    for timing in timings[1:]:
        if not timing.case.is_ours:
            cpu, wall = first.ratio_to(timing), first.wall_ratio_to(timing)
            yield f"- {first.case.name}: {cpu:.1f}x {timing.case.name} by CPU seconds, {wall:.1f}x by wall"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="only tables whose title contains this")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every round's figures here")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        audio = Path(folder) / "music.npy"
        write_audio(audio)
        for title in TABLES:
            if options.only in title:
                timings = compare(cases(title, audio), rounds=options.rounds)
                print(markdown(timings, title=title, item="audio s"), *ratios(timings), "", sep="\n")
                results.append(as_json(timings, title=title))
    if options.json:
        write_results(options.json, results)


if __name__ == "__main__":
    main()
