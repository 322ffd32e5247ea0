"""The ledger: one row for every input file, with what became of it and why.

Conventions:
    `used`: everything in the file is in the clips, but for a short tail. `partial`: decoding stopped before the end.
    `suspect`: the decoder ended well, but the file seems to hold more. `rejected`: no clip came of it.
    A reason is `kind: detail`, several are joined by "; "; equal kinds are counted together.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ray_musicssl.run_dir import replacing

Status = Literal["used", "partial", "suspect", "rejected"]
STATUSES: tuple[Status, ...] = ("used", "partial", "suspect", "rejected")

LEDGER_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("track_id", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("container", pa.string()),
        ("codec", pa.string()),
        ("sample_rate", pa.int64()),
        ("channels", pa.int64()),
        ("seconds_in", pa.float64()),
        ("seconds_out", pa.float64()),
        ("num_clips", pa.int64()),
        ("nan_samples", pa.int64()),
        ("clipped_samples", pa.int64()),
        ("peak", pa.float64()),
        ("rms", pa.float64()),
        ("pcm_sha256", pa.string()),
        ("size_bytes", pa.int64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """What became of one input file; zeros and empty texts where nothing is known."""

    path: str  # as text that every program can hold
    track_id: str
    status: Status
    reason: str = ""
    container: str = ""  # libsndfile's name of the format
    codec: str = ""  # libsndfile's name of the subtype
    sample_rate: int = 0
    channels: int = 0
    seconds_in: float = 0.0  # that the header, or a walk through the file, promises
    seconds_out: float = 0.0  # in clips
    num_clips: int = 0
    nan_samples: int = 0  # input values that were NaN or infinite, set to 0
    clipped_samples: int = 0  # output samples beyond full scale
    peak: float = 0.0  # of the 16 kHz mono audio; 1 is full scale
    rms: float = 0.0
    pcm_sha256: str = ""  # of all 16 kHz int16 samples, a dropped tail included; empty: there are none
    size_bytes: int = 0


def row_of(values: Mapping[str, Any]) -> LedgerRow:
    """A row from its JSON form."""
    return LedgerRow(**values)


def values_of(row: LedgerRow) -> dict[str, Any]:
    """The JSON form of a row."""
    return asdict(row)


def with_duplicates_noted(rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """The same rows; where a file's audio equals that of an earlier one, the reason names the earlier one."""
    first: dict[str, str] = {}
    noted = []
    for row in rows:
        earlier = first.setdefault(row.pcm_sha256, row.path) if row.num_clips else row.path
        note = "" if earlier == row.path else f"same audio as: {earlier}"
        noted.append(replace(row, reason=join_reasons(row.reason, note)))
    return noted


def join_reasons(*reasons: str) -> str:
    """One text of several reasons; empty ones fall away."""
    return "; ".join(reason for reason in reasons if reason)


def count_statuses(rows: Sequence[LedgerRow]) -> dict[str, int]:
    """How many files have each status, every status named."""
    counts = Counter(row.status for row in rows)
    return {status: counts[status] for status in STATUSES}


def common_reasons(rows: Sequence[LedgerRow], num_reasons: int = 3) -> dict[str, int]:
    """The most common kinds of reason for a rejection, most common first."""
    kinds = Counter(row.reason.partition("; ")[0].partition(":")[0] for row in rows if row.status == "rejected")
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))[:num_reasons])


def write_ledger(path: Path, rows: Sequence[LedgerRow]) -> None:
    """Write the ledger as Parquet, whole or not at all."""
    table = pa.Table.from_pylist([values_of(row) for row in rows], schema=LEDGER_SCHEMA)
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def read_ledger(path: Path) -> list[LedgerRow]:
    """The rows that `write_ledger` wrote."""
    return [row_of(values) for values in pq.read_table(path).to_pylist()]
