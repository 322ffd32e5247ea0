"""The bytes of an input file, wherever it lies, and whose fault it is if they cannot be had.

Conventions:
    That a file is missing or closed to us is its own fault and goes into its row. Whatever else goes wrong (too many open
    files, a full disk, a store that does not answer) may be gone tomorrow: it is tried again, and then ends the run.
"""

import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar, cast

from ray_musicssl.audio.remote_sources import open_store
from ray_musicssl.audio.sources import AudioFile
from ray_musicssl.errors import DataError, EnvironmentFaultError

ResultT = TypeVar("ResultT")

PAUSES_S = (0.5, 4.0)  # before the second and the third try
FULL = (errno.ENOSPC, errno.EDQUOT)
_OWN_FAULTS = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "symlink loop",
    errno.EISDIR: "not a regular file",
    errno.ENXIO: "not a regular file",  # a socket, or a device that is not there
    errno.ENODEV: "not a regular file",
}


def patiently(attempt: Callable[[], ResultT], file: AudioFile) -> ResultT:
    """What `attempt` gives, which reads of `file`; faults of machine, network or store are waited out for some seconds.

    Raises:
        DataError: if the fault is the file's own.
        EnvironmentFaultError: if the fault stays.
    """
    for pause_s in (*PAUSES_S, None):
        try:
            return attempt()
        except OSError as error:
            if error.errno in _OWN_FAULTS:
                raise DataError(_OWN_FAULTS[error.errno]) from error
            if pause_s is None:
                raise EnvironmentFaultError(
                    f"{file.shown_path} cannot be read: {error.strerror or error}; run the same command again when it can, it "
                    f"goes on; if this file alone stays unreadable, remove it and start anew"
                ) from error
        time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")


@contextmanager
def opened_bytes(file: AudioFile) -> Iterator[BinaryIO]:
    """The file's bytes, seekable; an object of a store is copied to a temporary file first.

    Raises:
        DataError: if it is no regular file, or is not what was listed.
        EnvironmentFaultError: if there is no room for the copy.
        OSError: if it cannot be read.
    """
    if file.store:
        with tempfile.TemporaryFile() as temporary:
            local = cast("BinaryIO", temporary)
            _copy_object(file, local)
            local.seek(0)
            yield local
        return
    # Non-blocking: a FIFO that took the file's place since the listing must not hold us up.
    descriptor = os.open(file.location, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as local:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DataError("not a regular file")
        if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.mtime_ns):
            raise DataError("changed since it was listed")
        yield cast("BinaryIO", local)


def _copy_object(file: AudioFile, local: BinaryIO) -> None:
    try:
        with open_store(file.store)[0].open_input_stream(file.location, compression=None) as remote:
            shutil.copyfileobj(remote, local, 1 << 20)
            local.flush()
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise EnvironmentFaultError(
            f"{tempfile.gettempdir()} has no room for a copy of {file.shown_path} ({file.size_bytes / 1e6:.1f} MB); free some "
            f"space there or set TMPDIR to another folder, then run the same command again: it goes on"
        ) from error
