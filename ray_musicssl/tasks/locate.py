"""Finding a data set in a folder, and finding out whether its audio can be used.

Conventions:
    `data_dir` is the data set's own folder or its parent; a data set may add one folder of its own. Readers make it
    absolute (`data_folder`), and so every path that they give.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import soundfile

from ray_musicssl.errors import DataError, NotThereError
from ray_musicssl.tasks.base import TaskData
from ray_musicssl.tasks.files import SYSTEM_ERROR, access_to, is_hidden

MAX_DEPTH = 2  # parent -> data set -> the folder its archive unpacks to
MIN_AUDIO_S = 1.0
MEMORY_FILES = 1 << 19  # files whose headers and hashes a process remembers: more than any of these data sets has

Fault = Literal["missing", "empty", "undecodable", "too_short"]


def data_folder(data_dir: Path) -> Path:
    """The folder that a person names, as an absolute path: a relative one is that of the working directory."""
    return Path(data_dir).absolute()


def _folders(data_dir: Path, depth: int = MAX_DEPTH) -> Iterator[Path]:
    """`data_dir` and the folders in it, nearest first, then by name."""
    level = [data_dir]
    yield from level
    for _ in range(depth):
        level = [child for folder in level for child in _folders_in(folder)]
        yield from level


def _folders_in(folder: Path) -> list[Path]:
    """The folders in a folder; none if it may not be listed, as `lost+found` at the root of a disk may not."""
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not is_hidden(child.name))
    except PermissionError:
        return []


def _may_be_listed(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def find_all(data_dir: Path, *patterns: str) -> list[Path]:
    """Every path that matches a pattern (`annotations/key`, `nsynth-train*`) in `data_dir` or up to two folders below.

    Nothing hidden; nearest first; at the same depth in the order of `patterns`, then by name.

    Raises:
        DataError: if `data_dir` is not a folder, or may not be listed.
        EnvironmentFaultError: if the system fails to look there.
    """
    with access_to(data_dir):
        if not data_dir.is_dir():
            raise DataError(f"the data folder {data_dir} does not exist; give --data a data set's folder or its parent")
        if not _may_be_listed(data_dir):
            raise DataError(f"the data folder {data_dir} may not be listed by this user; change its permissions")
        found = [path for folder in _folders(data_dir) for pattern in patterns for path in sorted(folder.glob(pattern))]
    return [path for path in dict.fromkeys(found) if not is_hidden(path.name)]


def find_one(
    data_dir: Path,
    *patterns: str,
    what: str,
    remedy: str = "give --data the data set's folder or its parent",
    signs: Sequence[str] = (),
) -> Path:
    """The nearest path that matches.

    Args:
        data_dir: where to begin.
        patterns: paths to look for; wildcards allowed.
        what: names the thing in the message.
        remedy: the end of the message.
        signs: patterns of other parts of the same data set.

    Raises:
        NotThereError: if there is none, nor a sign of the data set; the message says what was expected where, and which
            folders may not be listed.
        DataError: if there is none though a sign is there: the data set is not whole.
    """
    if found := find_all(data_dir, *patterns):
        return found[0]
    rest = find_all(data_dir, *signs)
    with access_to(data_dir):
        closed = ", ".join(str(folder) for folder in _folders(data_dir) if not _may_be_listed(folder))
    unseen = f"not looked into, as this user may not list it: {closed}; " if closed else ""
    raise (DataError if rest else NotThereError)(
        f"no {what} under {data_dir}{f', though {rest[0]} is there' if rest else ''}; expected {' or '.join(patterns)} "
        f"there or at most {MAX_DEPTH} folders below; {unseen}{remedy}"
    )


@dataclass(frozen=True, kw_only=True)
class AudioCheck:
    """What opening a file said about it."""

    duration_s: float = 0.0
    fault: Fault | None = None  # None: it can be used


def check_audio(path: Path | None, *, min_s: float = MIN_AUDIO_S) -> AudioCheck:
    """Open an audio file's header, no more, and say how long it is or why it cannot be used.

    Raises:
        EnvironmentFaultError: if the system does not give the file, which says nothing about what is in it.
    """
    if path is None:
        return AudioCheck(fault="missing")
    with access_to(path):
        if not path.is_file():
            return AudioCheck(fault="missing")
        status = path.stat()
        if status.st_size == 0:
            return AudioCheck(fault="empty")
        try:
            duration_s = _duration_s(path, status.st_size, status.st_mtime_ns)
        except soundfile.LibsndfileError as error:
            # libsndfile does not say why, and a header that the disk does not give is of an unknown format to it.
            path.read_bytes()
            if error.code == SYSTEM_ERROR:
                raise
            return AudioCheck(fault="undecodable")
    if duration_s == 0:
        return AudioCheck(fault="empty")
    return AudioCheck(duration_s=duration_s, fault="too_short" if duration_s < min_s else None)


@lru_cache(maxsize=MEMORY_FILES)
def _duration_s(path: Path, size_bytes: int, mtime_ns: int) -> float:  # noqa: ARG001  (a changed file is another)
    """Seconds of audio, by the header; two tasks of one data set open a file once. Faults are not remembered."""
    return float(soundfile.info(path).duration)


def need_every_split(dataset: str, data_dir: Path, data: TaskData) -> None:
    """Check that there is something to train on, to choose by and to test on.

    Raises:
        DataError: naming the empty splits and why items were left out.
    """
    empty = [split for split, count in data.used().items() if count == 0]
    if empty:
        why = ", ".join(f"{count} {reason}" for reason, count in data.reasons().items()) or "none are listed"
        raise DataError(
            f"{dataset} under {data_dir} has no usable item in {', '.join(empty)} ({why}); check the folder"
        )
