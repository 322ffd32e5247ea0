"""Trained encoders for use: any audio in, embeddings out.

Conventions:
    Layer 0 is the transformer's input, layers 1..L its outputs. Audio of any rate and number of channels is averaged to mono
    and resampled; long audio runs through overlapping windows, of which only the inner frames are kept.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import soxr
import torch
from jaxtyping import Float32

from ray_musicssl.audio.frames import ENCODER_GRID, SAMPLE_RATE
from ray_musicssl.hub.importer import open_encoder
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.models.windows import windowed_states
from ray_musicssl.objectives.building import fresh_encoder
from ray_musicssl.probing.features import Pool, pooled
from ray_musicssl.run_dir import hash_of

Layers = Literal["all"] | int | Sequence[int]


class Encoder:
    """A frozen encoder; see `embed`."""

    def __init__(self, model: MusicEncoder, *, name: str, content_hash: str, seed: int | None = None) -> None:
        """Freeze a model.

        Args:
            model: the encoder; it is put into evaluation.
            name: what reports call it.
            content_hash: hash of its weights.
            seed: of its weights before any training, if it is known.
        """
        self.model = model.eval().requires_grad_(requires_grad=False)
        self.name = name
        self.content_hash = content_hash
        self.seed = seed
        self.num_layers = model.config.num_layers + 1
        self.dim = model.config.dim
        self.frame_rate = ENCODER_GRID.frame_rate

    def embed(
        self,
        waveform: Float32[np.ndarray, "*channels samples"],
        sample_rate: int,
        *,
        layers: Layers = "all",
        pool: Pool = None,
    ) -> Float32[np.ndarray, "layers *frames dim"]:
        """Embed a recording.

        Args:
            waveform: `[samples]` or `[channels, samples]`, full scale 1.
            sample_rate: Hz, any.
            layers: which hidden states: all L + 1, one, or some; negative numbers count from the last.
            pool: `mean` averages over time; `mean+sd` adds the standard deviation over time.

        Returns:
            `[layers, frames, dim]` at 50 Hz, or pooled `[layers, dim]`, `[layers, 2 dim]` with `mean+sd`. Audio shorter
            than 25 ms is padded with silence to one frame.

        Raises:
            ValueError: if the waveform has more than two axes or samples that are not finite, or a layer or a way to pool
                does not exist.
        """
        mono = to_encoder_rate(waveform, sample_rate)
        chosen = self.layer_numbers(layers)
        frames = windowed_states(self.model, torch.from_numpy(mono), chosen).numpy()
        return frames if pool is None else pooled(frames, pool)

    def layer_numbers(self, layers: Layers) -> list[int]:
        """The numbers of the layers that `layers` means, from 0 up.

        Raises:
            ValueError: if one does not exist.
        """
        if layers == "all":
            return list(range(self.num_layers))
        numbers = [layers] if isinstance(layers, int) else [int(layer) for layer in layers]
        for number in numbers:
            if not -self.num_layers <= number < self.num_layers:
                raise ValueError(f"layers={number} does not exist; this encoder has 0..{self.num_layers - 1}")
        return [number % self.num_layers for number in numbers]


def to_encoder_rate(
    waveform: Float32[np.ndarray, "*channels samples"], sample_rate: int
) -> Float32[np.ndarray, " samples"]:
    """Mono at 16 kHz, at least one frame long.

    Raises:
        ValueError: if the waveform has more than two axes, no samples, or samples that are not finite.
    """
    waveform = np.asarray(waveform, dtype=np.float32)
    if waveform.ndim > 2 or waveform.size == 0:
        raise ValueError(f"waveform has shape {waveform.shape}; [samples] or [channels, samples] is needed, not empty")
    mono = waveform.mean(axis=0) if waveform.ndim == 2 else waveform
    if not np.isfinite(mono).all():
        raise ValueError("waveform has samples that are NaN or infinite; repair or drop it")
    if sample_rate != SAMPLE_RATE:
        mono = soxr.resample(mono, sample_rate, SAMPLE_RATE, quality="HQ")
    shortfall = ENCODER_GRID.num_samples(1) - len(mono)
    return np.ascontiguousarray(np.pad(mono, (0, shortfall)) if shortfall > 0 else mono, dtype=np.float32)


def load_encoder(path: str | Path) -> Encoder:
    """Load the encoder of a run directory (its newest sound checkpoint), a checkpoint directory or a Hugging Face folder.

    Raises:
        ConfigError: if the weights are pickled; `musicssl import --allow-legacy` makes a folder that can be loaded.
        DataError: if there is no encoder, or it does not verify.
    """
    opened = open_encoder(Path(path))
    return Encoder(opened.model, name=opened.name, content_hash=opened.content_hash, seed=opened.first_seed)


def untrained_encoder(path: str | Path, *, seed: int | None = None) -> Encoder:
    """What a run or a Hugging Face folder was before any training: the same architecture with random weights.

    A run's are the very weights that it began with (unless it was given some by `--init-from`).

    Args:
        path: as `load_encoder` takes it.
        seed: of the weights; None: the run's own, 0 for a folder.

    Raises:
        ConfigError: as `load_encoder`.
        DataError: as `load_encoder`.
    """
    opened = open_encoder(Path(path))
    config, chosen = opened.model.config, opened.seed if seed is None else seed
    identity = {"encoder": config.model_dump(mode="json"), "seed": chosen, "untrained": True}
    model = fresh_encoder(config, seed=chosen)
    return Encoder(model, name=f"random:{opened.name}", content_hash=hash_of(identity), seed=chosen)
