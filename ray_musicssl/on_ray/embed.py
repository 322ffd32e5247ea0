"""The embed stage: audio files to Parquet of embeddings.

Conventions:
    One row a clip of at most `clip_s`; `embedding` is flat, row-major: `[layers, dim]` pooled, else `[layers, frames, dim]`.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ray_musicssl.audio.decode import decode_file
from ray_musicssl.audio.frames import SAMPLE_RATE, samples_to_seconds
from ray_musicssl.audio.ledger import LedgerRow, count_statuses, row_of, values_of, write_ledger
from ray_musicssl.audio.parts import PartPlan, plan_parts
from ray_musicssl.audio.shard import FULL_SCALE, Clip, part_name
from ray_musicssl.audio.sources import AudioFile, list_files
from ray_musicssl.config.loading import build
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.probing.embed import Encoder, Layers, load_encoder
from ray_musicssl.probing.features import Pool
from ray_musicssl.progress import progress
from ray_musicssl.run_dir import done_with, hash_of, locked, mark_done, read_json, replacing, write_json

EMBEDDING_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("track_id", pa.string()),
        ("offset_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("layers", pa.list_(pa.int32())),
        ("num_frames", pa.int32()),  # 0 if pooled
        ("dim", pa.int32()),
        ("embedding", pa.large_list(pa.float32())),
    ]
)


@dataclass(frozen=True, kw_only=True)
class _PartJob:
    part: PartPlan
    encoder_path: Path
    out_dir: Path
    config: PrepareConfig
    layers: Layers
    pool: Pool

    @property
    def sidecar_path(self) -> Path:
        return self.out_dir / part_name(self.part.number).replace(".parquet", ".json")


def embed_files(
    encoder_path: Path, audio: str, out: Path, *, layers: Layers = "all", pool: Pool = "mean", clip_s: float = 30.0
) -> Path:
    """Embed every file under `audio`.

    Args:
        encoder_path: a run or checkpoint directory, or a Hugging Face folder.
        audio: a folder, glob, manifest or URI, as for `prepare`.
        out: directory for `part-00000.parquet`, ... and `ledger.parquet`; a re-run continues or does nothing.
        layers: which hidden states.
        pool: `mean` for one vector a layer and clip, None for frames.
        clip_s: longest stretch embedded as one, at most 30 s.

    Returns:
        `out`.

    Raises:
        ConfigError: if `clip_s` is out of range or a layer does not exist.
        DataError: if there is no audio or no sound encoder.
        ResumeRefusedError: if `out` holds embeddings of other files, another encoder or other settings.
    """
    config = build(PrepareConfig, {"clip_s": clip_s}, origin="embed")
    encoder = load_encoder(encoder_path)
    try:
        encoder.layer_numbers(layers)
    except ValueError as error:
        raise ConfigError(f"{encoder_path}: {error}") from error
    plan = plan_parts(list_files(audio), config)
    chosen = layers if isinstance(layers, str | int) else list(layers)
    fingerprint = hash_of([plan.fingerprint, encoder.content_hash, chosen, pool])
    with locked(out):
        if done_with(out, "embed", fingerprint=fingerprint, remedy="choose another --out") is not None:
            return out
        jobs = [
            _PartJob(
                part=part,
                encoder_path=encoder_path.resolve(),
                out_dir=out.resolve(),
                config=config,
                layers=layers,
                pool=pool,
            )
            for part in plan.parts
        ]
        waiting = [job for job in jobs if not _is_written(job, fingerprint)]
        with session(), progress("embed", plan.num_files, "files") as meter:
            meter.start_from(plan.num_files - sum(len(job.part.files) for job in waiting))
            for index, rows in run_tasks(_embed_part, waiting):
                write_json(waiting[index].sidecar_path, {"fingerprint": fingerprint, "ledger": rows})
                meter.advance(len(rows))
        rows = [row_of(values) for job in jobs for values in read_json(job.sidecar_path)["ledger"]]
        write_ledger(out / "ledger.parquet", rows)
        facts = {"encoder": encoder.name, "encoder_hash": encoder.content_hash, "statuses": count_statuses(rows)}
        mark_done(out, "embed", fingerprint=fingerprint, facts=facts)
    return out


def _is_written(job: _PartJob, fingerprint: str) -> bool:
    return job.sidecar_path.exists() and read_json(job.sidecar_path)["fingerprint"] == fingerprint


@lru_cache(maxsize=1)
def _encoder(path: Path) -> Encoder:
    """Loaded once a worker process."""
    torch.set_num_threads(1)
    return load_encoder(path)


def _embed_part(job: _PartJob) -> list[dict[str, Any]]:
    """Write one part; give its files' ledger rows."""
    encoder = _encoder(job.encoder_path)
    ledger: list[LedgerRow] = []
    with (
        replacing(job.out_dir / part_name(job.part.number)) as temporary,
        pq.ParquetWriter(temporary, EMBEDDING_SCHEMA) as writer,
    ):
        for file in job.part.files:
            rows: list[dict[str, Any]] = []
            keep = partial(_keep, rows, encoder, job, file)
            ledger.append(decode_file(file, job.config, keep))
            writer.write_table(pa.Table.from_pylist(rows, EMBEDDING_SCHEMA))
    return [values_of(row) for row in ledger]


def _keep(rows: list[dict[str, Any]], encoder: Encoder, job: _PartJob, file: AudioFile, clip: Clip) -> None:
    """Embed a clip as it is decoded."""
    waveform = clip.pcm.astype(np.float32) / FULL_SCALE
    embedding = encoder.embed(waveform, SAMPLE_RATE, layers=job.layers, pool=job.pool)
    row = {
        "path": file.shown_path,
        "track_id": file.track_id,
        "offset_s": clip.offset_s,
        "duration_s": samples_to_seconds(len(clip.pcm)),
        "layers": encoder.layer_numbers(job.layers),
        "num_frames": 0 if job.pool else embedding.shape[1],
        "dim": embedding.shape[-1],
        "embedding": embedding.ravel(),
    }
    rows.append(row)
