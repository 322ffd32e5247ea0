"""What a sweep leaves on disk: one list of its names, and the record of each trial.

Conventions:
    `runs/<trial>` is an ordinary run directory; `runs/<trial>/trial.json` says which trial it is and how far it came. That
    record is the only account of a sweep: what resumes, tables and reports know, they know from it.
"""

import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ray_musicssl.errors import DataError
from ray_musicssl.run_dir import RunDir, read_json, write_json

Status = Literal["pending", "running", "done", "stopped", "failed"]
ENDED: tuple[Status, ...] = ("done", "stopped")  # nothing is left to do


@dataclass(frozen=True)
class SweepDir:
    """The files of one sweep."""

    path: Path

    @property
    def space_path(self) -> Path:
        """The search space, as it was last run."""
        return self.path / "space.yaml"

    @property
    def facts_path(self) -> Path:
        """Which trials, in which order, on what audio."""
        return self.path / "sweep.json"

    @property
    def codebooks_dir(self) -> Path:
        """A directory a codebook."""
        return self.path / "codebooks"

    @property
    def features_dir(self) -> Path:
        """Frozen features that probes share."""
        return self.path / "features"

    @property
    def tune_dir(self) -> Path:
        """Ray Tune's own bookkeeping; nothing reads it."""
        return self.path / "tune"

    @property
    def stop_path(self) -> Path:
        """While this file exists, no trial begins."""
        return self.path / "stop-requested"

    def run_dir(self, trial: str) -> RunDir:
        """Where a trial's run is."""
        return RunDir(self.path / "runs" / trial)

    def put_aside(self) -> None:
        """Rename the directory of all runs to where nothing looks, to be removed."""
        if (self.path / "runs").exists():
            (self.path / "runs").rename(self.path / f".removed-{uuid.uuid4().hex[:8]}")

    def clear_removed(self) -> None:
        """Remove the runs that were put aside, by this call or one that was killed."""
        for path in self.path.glob(".removed-*"):
            shutil.rmtree(path)

    def record_path(self, trial: str) -> Path:
        """A trial's record."""
        return self.run_dir(trial).path / "trial.json"

    def record(self, trial: str) -> "TrialRecord | None":
        """What is known of a trial; None if it was never planned.

        Raises:
            DataError: if its record is damaged.
        """
        path = self.record_path(trial)
        return read_record(path) if path.exists() else None


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial and how far it came."""

    name: str
    variant: str
    preset: str
    scale: str
    overrides: tuple[str, ...]  # KEY=VALUE
    settings: Mapping[str, Any]  # of what differs between the trials of the sweep, by config path
    identity: str  # hash of all that its weights depend on beside the audio
    judged_by: str  # hash of tasks, probe recipe and metric
    max_steps: int
    status: Status = "pending"
    stage: str = ""  # of a running one: pretrain | probe
    reason: str = ""  # why it failed, was stopped or waits
    error: str = ""  # of a failed one: the class of our errors
    score: float | None = None  # a fraction; larger is better
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # task -> metric -> mean over probe seeds
    wall_s: float = 0.0  # of all attempts that ended
    cpu_hours: float = 0.0  # reserved by its workers while it trained
    gpu_hours: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do of it."""
        return self.status in ENDED


def read_record(path: Path) -> TrialRecord:
    """Read a trial's record.

    Raises:
        DataError: if it is damaged, or is something else.
    """
    try:
        raw = read_json(path)
        known = {entry.name for entry in fields(TrialRecord)}
        values: dict[str, Any] = {name: value for name, value in raw.items() if name in known}
        values["overrides"] = tuple(values["overrides"])
        return TrialRecord(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is not a trial's record ({error}); remove it, and the trial is run again") from error


def write_record(path: Path, record: TrialRecord) -> None:
    """Write a trial's record, whole or not at all."""
    write_json(path, asdict(record))


def differing(settings: Mapping[str, Mapping[str, Any]], keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Of each trial the settings that are not the same in all of them.

    Args:
        settings: by trial, then by config path; a path that a trial lacks has no effect on it.
        keys: the paths to compare, in the order wanted.
    """
    chosen = [key for key in dict.fromkeys(keys) if len(_values(settings.values(), key)) > 1]
    return {name: {key: own[key] for key in chosen if key in own} for name, own in settings.items()}


def _values(rows: Iterable[Mapping[str, Any]], key: str) -> Sequence[Any]:
    """The different values of a key, in order; a trial without it counts for none."""
    found: list[Any] = []
    for row in rows:
        if key in row and row[key] not in found:
            found.append(row[key])
    return found
