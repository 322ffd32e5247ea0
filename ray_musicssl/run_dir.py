"""What stages leave on disk, and how: one list of names, atomic writes, done-markers, hashes, locks.

Conventions:
    Every file appears under its name only when it is whole (temporary name, fsync, rename).
    A stage's marker is written last: if `done-<stage>.json` exists, everything before it is complete.
    A fingerprint is the hash of all a stage's output depends on; the same fingerprint means the same bytes.
"""

import hashlib
import json
import os
import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import filelock

from ray_musicssl import __version__
from ray_musicssl.errors import EnvironmentFaultError, ResumeRefusedError

HASH_LENGTH = 16  # hex digits kept of a SHA-256: 64 bits, enough to tell a lab's artefacts apart
_PACKAGES = ("torch", "torchaudio", "ray", "numpy", "pyarrow", "scikit-learn", "soundfile", "soxr")


@dataclass(frozen=True)
class RunDir:
    """The files of one pre-training run."""

    path: Path

    @property
    def config_path(self) -> Path:
        """The resolved configuration, as YAML."""
        return self.path / "config.yaml"

    @property
    def start_path(self) -> Path:
        """The encoder's first weights, if the run does not begin at random."""
        return self.path / "start.safetensors"

    @property
    def checkpoints_dir(self) -> Path:
        """`step-00010000/` directories."""
        return self.path / "checkpoints"

    @property
    def ray_index_path(self) -> Path:
        """What Ray Train notes of the checkpoints it was told of; nothing reads it."""
        return self.checkpoints_dir / "checkpoint_manager_snapshot.json"

    @property
    def tensorboard_dir(self) -> Path:
        """Event files, written by rank 0."""
        return self.path / "tb"

    @property
    def metrics_path(self) -> Path:
        """One JSON object a logging interval, in step order."""
        return self.path / "metrics.jsonl"

    @property
    def scores_dir(self) -> Path:
        """Probe scores, `<task>.json`."""
        return self.path / "scores"

    @property
    def report_path(self) -> Path:
        """The self-contained report."""
        return self.path / "report.html"


def checkpoint_name(step: int) -> str:
    """The directory name of the checkpoint after `step` optimiser steps; names sort by step."""
    return f"step-{step:08d}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is synced and renamed to `path`, on error removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_temporaries(directory: Path) -> None:
    """Remove what killed processes left half-written in `directory`; only for who holds its lock, with no task running."""
    for path in directory.glob(f".*.{'[0-9a-f]' * 8}.tmp"):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file, or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file, or nothing."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON with sorted keys, or nothing."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text())


def hash_of(value: Any) -> str:
    """Hash a JSON-like value; equal values give equal hashes, in any key order."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The versions an artefact was made with."""
    found = {"ray_musicssl": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def _marker_path(directory: Path, stage: str) -> Path:
    return directory / f"done-{stage}.json"


def mark_done(directory: Path, stage: str, *, fingerprint: str, facts: Mapping[str, Any]) -> None:
    """Record that `stage` is complete in `directory`, with what a reader should know of it.

    Args:
        directory: the stage's output directory.
        stage: the stage's one word.
        fingerprint: hash of everything the output depends on.
        facts: JSON-like facts (counts, hashes of parents and output, settings).
    """
    marker = {"stage": stage, "fingerprint": fingerprint, "versions": versions(), **facts}
    write_json(_marker_path(directory, stage), marker)


def done_facts(directory: Path, stage: str) -> dict[str, Any] | None:
    """What `mark_done` recorded, or None if the stage has not ended there."""
    path = _marker_path(directory, stage)
    return read_json(path) if path.exists() else None


def done_with(directory: Path, stage: str, *, fingerprint: str, remedy: str) -> dict[str, Any] | None:
    """The facts of a stage that ended with this fingerprint, or None if it has not ended.

    Raises:
        ResumeRefusedError: if the stage ended there with another fingerprint; `remedy` says what to do.
    """
    facts = done_facts(directory, stage)
    if facts is not None and facts["fingerprint"] != fingerprint:
        raise ResumeRefusedError(
            f"{directory} holds the result of `{stage}` with other settings or inputs "
            f"(fingerprint {facts['fingerprint']}, now {fingerprint}); {remedy}"
        )
    return facts


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold `directory` for this process, so that two runs never write the same files.

    Raises:
        EnvironmentFaultError: if another process holds it (the message names its process and host), or it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFaultError(
            f"{directory} cannot be used as a directory ({error.strerror}); choose another"
        ) from error
    owner_path = directory / ".lock-owner"
    lock = filelock.FileLock(directory / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        owner = owner_path.read_text().strip() if owner_path.exists() else "another process"
        raise EnvironmentFaultError(
            f"{directory} is in use by {owner}; wait for it or choose another directory"
        ) from error
    try:
        write_text(owner_path, f"process {os.getpid()} on {platform.node()}\n")
        yield
    finally:
        owner_path.unlink(missing_ok=True)
        lock.release()


def need_free_space(directory: Path, size_bytes: int) -> None:
    """Check that the disk under `directory` can take `size_bytes` more.

    Raises:
        EnvironmentFaultError: if it cannot; the message gives both sizes.
    """
    parent = next(p for p in (directory, *directory.parents) if p.exists())
    free = shutil.disk_usage(parent).free
    if free < size_bytes:
        raise EnvironmentFaultError(
            f"{directory} needs {size_bytes / 1e9:.2f} GB but the disk has {free / 1e9:.2f} GB free; "
            f"free some space or choose another directory"
        )
