"""The embed stage: audio files to Parquet of embeddings.

Conventions:
    One row a clip of at most `clip_s`; `embedding` is flat, row-major: `[layers, dim]` pooled, else `[layers, frames, dim]`.
    A run directory means the checkpoint that was its newest when the command began, for every worker and to the end.
"""

import math
from collections.abc import Sequence
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
from ray_musicssl.audio.ledger import (
    LedgerRow,
    common_reasons,
    count_statuses,
    read_ledger,
    row_of,
    values_of,
    write_ledger,
)
from ray_musicssl.audio.parts import PartPlan, plan_parts
from ray_musicssl.audio.shard import FULL_SCALE, Clip, part_name
from ray_musicssl.audio.sources import AudioFile, list_files
from ray_musicssl.config.loading import build
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.probing.embed import Encoder, Layers, load_encoder
from ray_musicssl.probing.features import Pool
from ray_musicssl.progress import progress, stderr
from ray_musicssl.run_dir import (
    RunDir,
    done_with,
    hash_of,
    locked,
    mark_done,
    read_json,
    remove_temporaries,
    replacing,
    write_json,
)
from ray_musicssl.training.checkpoint import newest_checkpoint

ROW_GROUP_BYTES = 8 << 20  # of embeddings held before they are written: frames of a long file would fill the memory
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
    content_hash: str  # of the encoder the command began with
    out_dir: Path
    config: PrepareConfig
    layers: Layers
    pool: Pool

    @property
    def sidecar_path(self) -> Path:
        return self.out_dir / part_name(self.part.number).replace(".parquet", ".json")


def embed_files(
    encoder_path: Path,
    audio: str,
    out: Path,
    *,
    layers: Layers = "all",
    pool: Pool = "mean",
    clip_s: float = 30.0,
    max_bad_fraction: float = 0.05,
) -> Path:
    """Embed every file under `audio`.

    Args:
        encoder_path: a run or checkpoint directory, or a Hugging Face folder.
        audio: a folder, glob, manifest or URI, as for `prepare`.
        out: directory for `part-00000.parquet`, ... and `ledger.parquet`; a re-run continues or does nothing.
        layers: which hidden states.
        pool: `mean` for one vector a layer and clip, None for frames.
        clip_s: longest stretch embedded as one, at most 30 s.
        max_bad_fraction: the largest share of rejected files that is a success.

    Returns:
        `out`.

    Raises:
        ConfigError: if `clip_s` is out of range or a layer does not exist.
        DataError: if there is no audio or no sound encoder, the encoder changes meanwhile, or too many files were
            rejected. In the last case all is written, and a run with a higher limit succeeds at once.
        ResumeRefusedError: if `out` holds embeddings of other files, another encoder or other settings.
    """
    config = build(PrepareConfig, {"clip_s": clip_s}, origin="embed")
    encoder_path = _fixed(encoder_path)
    encoder = load_encoder(encoder_path)
    try:
        encoder.layer_numbers(layers)
    except ValueError as error:
        raise ConfigError(f"{encoder_path}: {error}") from error
    plan = plan_parts(list_files(audio), config)
    chosen = layers if isinstance(layers, str | int) else list(layers)
    fingerprint = hash_of([plan.fingerprint, encoder.content_hash, chosen, pool])
    with locked(out):
        if done_with(out, "embed", fingerprint=fingerprint, remedy="choose another --out") is None:
            remove_temporaries(out)
            jobs = [
                _PartJob(
                    part=part,
                    encoder_path=encoder_path,
                    content_hash=encoder.content_hash,
                    out_dir=out.resolve(),
                    config=config,
                    layers=layers,
                    pool=pool,
                )
                for part in plan.parts
            ]
            rows = _embed_parts(jobs, plan.num_files, fingerprint)
            write_ledger(out / "ledger.parquet", rows)
            facts = {"encoder": encoder.name, "encoder_hash": encoder.content_hash, "statuses": count_statuses(rows)}
            remove_temporaries(out)
            mark_done(out, "embed", fingerprint=fingerprint, facts=facts)
    _check_ledger(out / "ledger.parquet", max_bad_fraction)
    return out


def _fixed(encoder_path: Path) -> Path:
    """The directory that `encoder_path` means now: training may write a newer checkpoint while files are embedded."""
    checkpoint = newest_checkpoint(RunDir(encoder_path).checkpoints_dir)
    return (checkpoint.path if checkpoint else encoder_path).resolve()


def _embed_parts(jobs: Sequence[_PartJob], num_files: int, fingerprint: str) -> list[LedgerRow]:
    """Write the parts that are not there yet; gives every file's row, in the order of the parts."""
    waiting = [job for job in jobs if not _is_written(job, fingerprint)]
    with session(), progress("embed", num_files, "files") as meter:
        meter.start_from(num_files - sum(len(job.part.files) for job in waiting))
        for index, rows in run_tasks(_embed_part, waiting):
            write_json(waiting[index].sidecar_path, {"fingerprint": fingerprint, "ledger": rows})
            meter.advance(len(rows))
    return [row_of(values) for job in jobs for values in read_json(job.sidecar_path)["ledger"]]


def _check_ledger(path: Path, max_bad_fraction: float) -> None:
    """Say what became of the files; raise if too many gave nothing."""
    rows = read_ledger(path)
    counts = count_statuses(rows)
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    stderr.print(f"embed      {len(rows)} files: {told}; each is in {path}", highlight=False, soft_wrap=True)
    fraction = counts["rejected"] / len(rows)
    if fraction > max_bad_fraction:
        reasons = ", ".join(f"{count} {reason}" for reason, count in common_reasons(rows).items())
        raise DataError(
            f"{counts['rejected']} of {len(rows)} files are rejected ({reasons}), more than the {max_bad_fraction:g} "
            f"allowed; {path} tells of each. The embeddings are written: accept them with --max-bad-fraction "
            f"{math.ceil(fraction * 1e4) / 1e4:g} or more"
        )


def _is_written(job: _PartJob, fingerprint: str) -> bool:
    return job.sidecar_path.exists() and read_json(job.sidecar_path)["fingerprint"] == fingerprint


@lru_cache(maxsize=1)
def _encoder(path: Path, content_hash: str) -> Encoder:
    """Loaded once a worker process."""
    torch.set_num_threads(1)
    encoder = load_encoder(path)
    if encoder.content_hash != content_hash:
        raise DataError(f"{path} has changed since this command began; let its training end, then embed again")
    return encoder


class _Rows:
    """Writes rows in groups of about `ROW_GROUP_BYTES`."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._rows: list[dict[str, Any]] = []
        self._size_bytes = 0

    def add(self, row: dict[str, Any]) -> None:
        """Take a row, and write the group if it is full."""
        self._rows.append(row)
        self._size_bytes += row["embedding"].nbytes
        if self._size_bytes >= ROW_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, EMBEDDING_SCHEMA))
        self._rows, self._size_bytes = [], 0


def _embed_part(job: _PartJob) -> list[dict[str, Any]]:
    """Write one part; give its files' ledger rows."""
    encoder = _encoder(job.encoder_path, job.content_hash)
    with (
        replacing(job.out_dir / part_name(job.part.number)) as temporary,
        pq.ParquetWriter(temporary, EMBEDDING_SCHEMA) as writer,
    ):
        rows = _Rows(writer)
        ledger = [decode_file(file, job.config, partial(_keep, rows, encoder, job, file)) for file in job.part.files]
        rows.flush()
    return [values_of(row) for row in ledger]


def _keep(rows: _Rows, encoder: Encoder, job: _PartJob, file: AudioFile, clip: Clip) -> None:
    """Embed a clip as it is decoded."""
    waveform = clip.pcm.astype(np.float32) / FULL_SCALE
    embedding = encoder.embed(waveform, SAMPLE_RATE, layers=job.layers, pool=job.pool)
    rows.add(
        {
            "path": file.shown_path,
            "track_id": file.track_id,
            "offset_s": clip.offset_s,
            "duration_s": samples_to_seconds(len(clip.pcm)),
            "layers": encoder.layer_numbers(job.layers),
            "num_frames": 0 if job.pool else embedding.shape[1],
            "dim": embedding.shape[-1],
            "embedding": embedding.ravel(),
        }
    )
