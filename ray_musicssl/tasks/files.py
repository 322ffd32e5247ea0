"""Looking at files: that the system does not give one now says nothing about what is in it.

Conventions:
    Names that begin with a dot are none of a data set's: macOS leaves a `._a.wav` beside every `a.wav` that it copies.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import soundfile

from ray_musicssl.errors import EnvironmentFaultError

SYSTEM_ERROR = 2  # libsndfile's code for a file that the system did not open or read, whatever is in it


@contextmanager
def access_to(path: Path) -> Iterator[None]:
    """Where `path`, or what is below it, is looked at.

    Raises:
        EnvironmentFaultError: if the system fails in it; the message names the file.
    """
    try:
        yield
    except (OSError, soundfile.LibsndfileError) as error:
        is_system = isinstance(error, OSError)
        if not is_system and error.code != SYSTEM_ERROR:
            raise
        where, why = (error.filename or path, error.strerror or error) if is_system else (path, error)
        raise EnvironmentFaultError(
            f"{where} cannot be read now ({why}); check its disk, network and permissions, then run the same command again"
        ) from error


def is_hidden(name: str) -> bool:
    """Whether a name begins with a dot."""
    return name.startswith(".")


def paths_like(folder: Path, pattern: str) -> list[Path]:
    """What is in `folder` itself under a name like `pattern`, by name and not hidden; nothing if there is no such folder.

    Raises:
        EnvironmentFaultError: if the system does not list it, where `Path.glob` would find nothing.
    """
    with access_to(folder):
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return [folder / name for name in sorted(names) if fnmatchcase(name, pattern) and not is_hidden(name)]
