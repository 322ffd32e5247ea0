"""Parquet shards of clips: their columns, names, and zero-copy reading.

Conventions:
    `DIR/part-00000.parquet`, ... hold the clips; `DIR/manifest.parquet` has one row a clip, in (part, row) order;
    `DIR/ledger.parquet` has one row an input file. `DIR/labels/<codebook hash>/part-00000.parquet` holds the same rows in
    the same order and the same row groups as the audio part of that name.
    `pcm` is little-endian int16, mono, 16 kHz; full scale is 32768.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int16

from ray_musicssl.errors import DataError
from ray_musicssl.run_dir import done_facts

SCHEMA_VERSION = "1"
FULL_SCALE = 32768.0

CLIP_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("track_id", pa.string()),  # the input file, so that clips of one recording can be kept together
        ("offset_s", pa.float64()),  # where in the file the clip starts
        ("num_samples", pa.int32()),
        ("pcm", pa.large_binary()),
    ],
    metadata={"schema_version": SCHEMA_VERSION, "sample_rate": "16000"},
)
MANIFEST_SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("track_id", pa.string()),
        ("offset_s", pa.float64()),
        ("num_samples", pa.int32()),
        ("part", pa.int32()),
        ("row_group", pa.int32()),
        ("row", pa.int32()),  # inside its row group
    ]
)
LABEL_SCHEMA = pa.schema([("clip_id", pa.string()), ("labels", pa.large_list(pa.int32()))])


def part_name(part: int) -> str:
    """The file name of a part; names sort by number."""
    return f"part-{part:05d}.parquet"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A stretch of one input file: a row of `CLIP_SCHEMA`."""

    clip_id: str
    track_id: str
    offset_s: float
    pcm: Int16[np.ndarray, " samples"]


@dataclass(frozen=True)
class Shards:
    """A directory that `prepare` has completed."""

    path: Path
    content_hash: str  # of every part's bytes
    num_clips: int
    seconds: float

    @property
    def manifest_path(self) -> Path:
        """One row a clip."""
        return self.path / "manifest.parquet"

    @property
    def labels_dir(self) -> Path:
        """One directory a codebook."""
        return self.path / "labels"

    def manifest(self) -> pa.Table:
        """Every clip, in (part, row group, row) order; columns of `MANIFEST_SCHEMA`."""
        return pq.read_table(self.manifest_path)

    def parts(self) -> list[int]:
        """Numbers of the parts that hold clips, ascending."""
        parts = pq.read_table(self.manifest_path, columns=["part"])["part"]
        return sorted(parts.unique().to_pylist())

    def part_path(self, part: int) -> Path:
        """The Parquet file of a part."""
        return self.path / part_name(part)


def open_shards(path: Path) -> Shards:
    """Open a directory of shards.

    Raises:
        DataError: if `prepare` has not ended there.
    """
    facts = done_facts(path, "prepare")
    if facts is None:
        raise DataError(f"{path} holds no finished shards; run `musicssl prepare --audio AUDIO --out {path}`")
    return Shards(path, facts["content_hash"], facts["num_clips"], facts["seconds"])


def pcm_views(column: pa.ChunkedArray | pa.Array) -> list[Int16[np.ndarray, " samples"]]:
    """The waveforms of a `pcm` column as read-only views of its buffer; nothing is copied."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    _, offsets, data = array.buffers()
    if offsets is None or data is None:
        return [np.empty(0, np.int16) for _ in range(len(array))]
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    samples = [(int(start), int(stop)) for start, stop in pairwise(ends)]
    return [np.frombuffer(data, np.int16, count=(stop - start) // 2, offset=start) for start, stop in samples]


def read_row_group(path: Path, row_group: int, columns: list[str] | None = None) -> pa.Table:
    """One row group of a part, whole.

    Raises:
        DataError: if the file is missing, damaged, or has fewer row groups.
    """
    try:
        return pq.ParquetFile(path).read_row_group(row_group, columns=columns)
    except (OSError, pa.ArrowException, IndexError) as error:
        raise DataError(f"row group {row_group} of {path} cannot be read ({error}); make the shards again") from error
