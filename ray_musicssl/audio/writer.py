"""Parts on disk: a Parquet file of clips, then a small JSON beside it that says it is complete.

Conventions:
    The sidecar `part-00000.json` is written last; a part without clips has a sidecar and no Parquet file.
    The bytes depend on the part's plan alone: no time stamps, no compression, no order of arrival.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from ray_musicssl.audio.decode import Decode, rejected
from ray_musicssl.audio.ledger import LedgerRow, row_of, values_of
from ray_musicssl.audio.parts import PartPlan
from ray_musicssl.audio.shard import CLIP_SCHEMA, MANIFEST_SCHEMA, Clip, part_name
from ray_musicssl.audio.source_bytes import FULL
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import EnvironmentFaultError
from ray_musicssl.run_dir import read_json, replacing, sha256_file, write_json

_INDEXED = [name for name in CLIP_SCHEMA.names if name != "pcm"]


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """A clip without its samples."""

    clip_id: str
    track_id: str
    offset_s: float
    num_samples: int


@dataclass(frozen=True, kw_only=True)
class PartRecord:
    """What a part's sidecar says."""

    fingerprint: str
    sha256: str  # of the Parquet file; empty: the part has no clips
    size_bytes: int
    clips: tuple[ClipRow, ...]
    ledger: tuple[LedgerRow, ...]


class PartWriter:
    """Writes clips to one Parquet file, a row group as soon as it is full; the file appears if the block ends well."""

    def __init__(self, path: Path, *, clips_per_row_group: int) -> None:
        self.rows: list[ClipRow] = []
        self._path = path
        self._clips_per_row_group = clips_per_row_group
        self._waiting: list[Clip] = []
        self._stack = ExitStack()
        self._parquet: pq.ParquetWriter | None = None

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            with self._stack:
                self._flush()
        else:
            # The stack is told of the error, so that the temporary file is removed instead of renamed.
            self._stack.__exit__(kind, error, traceback)

    def add(self, clip: Clip) -> None:
        """Take the next clip."""
        self._waiting.append(clip)
        if len(self._waiting) >= self._clips_per_row_group:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows = [
            ClipRow(clip_id=c.clip_id, track_id=c.track_id, offset_s=c.offset_s, num_samples=len(c.pcm))
            for c in self._waiting
        ]
        columns = {name: [getattr(row, name) for row in rows] for name in _INDEXED}
        columns["pcm"] = [clip.pcm.tobytes() for clip in self._waiting]
        self._opened().write_table(pa.Table.from_pydict(columns, schema=CLIP_SCHEMA))
        self.rows += rows
        self._waiting.clear()

    def _opened(self) -> pq.ParquetWriter:
        if self._parquet is None:
            temporary = self._stack.enter_context(replacing(self._path))
            parquet = pq.ParquetWriter(
                temporary,
                CLIP_SCHEMA,
                compression="none",
                use_dictionary=False,
                write_statistics=_INDEXED,  # pyright: ignore[reportArgumentType]
            )
            self._parquet = self._stack.enter_context(_closing(parquet))
        return self._parquet


@contextmanager
def _closing(parquet: pq.ParquetWriter) -> Iterator[pq.ParquetWriter]:
    try:
        yield parquet
    except BaseException:
        # A writer that failed fails again when it is closed; what went wrong first is what is to be told.
        with suppress(OSError, pa.ArrowException):
            parquet.close()
        raise
    parquet.close()


def sidecar_path(out_dir: Path, part: int) -> Path:
    """The JSON file beside a part."""
    return (out_dir / part_name(part)).with_suffix(".json")


def write_part(part: PartPlan, config: PrepareConfig, out_dir: Path, decode: Decode) -> None:
    """Decode a part's files in order and write the part, then its sidecar; a file with a `problem` is not opened.

    Raises:
        EnvironmentFaultError: if the disk is full, or a file cannot be read or written because of the machine; nothing of
            the part is left.
    """
    path = out_dir / part_name(part.number)
    try:
        with PartWriter(path, clips_per_row_group=config.clips_per_row_group) as writer:
            ledger = [
                rejected(file, file.problem) if file.problem else decode(file, config, writer.add)
                for file in part.files
            ]
        if not writer.rows:
            path.unlink(missing_ok=True)
        record = {
            "fingerprint": part.fingerprint,
            "sha256": sha256_file(path) if writer.rows else "",
            "size_bytes": path.stat().st_size if writer.rows else 0,
            "clips": [vars(row) for row in writer.rows],
            "ledger": [values_of(row) for row in ledger],
        }
        write_json(sidecar_path(out_dir, part.number), record)
    except OSError as error:
        if error.errno in FULL:
            raise EnvironmentFaultError(
                f"the disk is full while writing {path}; free some space and run the same command again, it goes on"
            ) from error
        raise EnvironmentFaultError(
            f"{path} cannot be written: {error.strerror or error}; mend that and run the same command again, it goes on"
        ) from error


def is_written(part: PartPlan, out_dir: Path) -> bool:
    """Whether `out_dir` holds the part that this plan gives, whole."""
    path = sidecar_path(out_dir, part.number)
    if not path.exists():
        return False
    record = read_json(path)
    if record["fingerprint"] != part.fingerprint:
        return False
    parquet = out_dir / part_name(part.number)
    return not record["sha256"] or (parquet.exists() and parquet.stat().st_size == record["size_bytes"])


def read_record(out_dir: Path, part: int) -> PartRecord:
    """The sidecar of a written part."""
    record = read_json(sidecar_path(out_dir, part))
    return PartRecord(
        fingerprint=record["fingerprint"],
        sha256=record["sha256"],
        size_bytes=record["size_bytes"],
        clips=tuple(ClipRow(**row) for row in record["clips"]),
        ledger=tuple(row_of(values) for values in record["ledger"]),
    )


def write_manifest(path: Path, records: Sequence[PartRecord], *, clips_per_row_group: int) -> None:
    """Write one row a clip, in (part, row group, row) order; `records` are those of parts 0, 1, ..."""
    columns: dict[str, list[object]] = {name: [] for name in MANIFEST_SCHEMA.names}
    for part, record in enumerate(records):
        for number, clip in enumerate(record.clips):
            row_group, row = divmod(number, clips_per_row_group)
            values = {**vars(clip), "part": part, "row_group": row_group, "row": row}
            for name, column in columns.items():
                column.append(values[name])
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pydict(columns, schema=MANIFEST_SCHEMA), temporary)
