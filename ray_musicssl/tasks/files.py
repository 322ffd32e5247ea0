"""Looking at files: that the system does not give one now says nothing about what is in it.

Conventions:
    Names that begin with a dot are none of a data set's: macOS leaves a `._a.wav` beside every `a.wav` that it copies.
    The case of a suffix, what follows a name's last dot, is of no account: some copies have `a.WAV` for `a.wav`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock

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


def with_lower_suffix(name: str) -> str:
    """A name with its suffix in lower case."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{suffix.lower()}" if dot and not suffix.islower() else name


def names_in(folder: Path) -> list[str]:
    """The names in a folder, sorted, without hidden ones; none if there is no such folder.

    Raises:
        EnvironmentFaultError: if the system does not list it, where `Path.glob` would find nothing.
    """
    with access_to(folder):
        paths = folder.iterdir() if folder.is_dir() else ()
        return sorted(path.name for path in paths if not is_hidden(path.name))


def paths_like(folder: Path, pattern: str) -> list[Path]:
    """The paths in a folder whose names match a pattern, by name, without hidden ones; none if there is no such folder.

    Args:
        folder: what lies deeper is not looked at.
        pattern: wildcards allowed; a suffix in lower case stands for both.

    Raises:
        EnvironmentFaultError: if the system does not list it.
    """
    return [folder / name for name in names_in(folder) if fnmatchcase(with_lower_suffix(name), pattern)]


class NamedFiles:
    """Files by name in some folders, for any number of threads. A folder is listed when it is first asked for, and once."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self._listed: dict[Path, dict[str, str]] = {}
        self._lock = Lock()

    def first(self, names: Sequence[str]) -> Path | None:
        """The first of `names` that is a file in any of the folders; of one name, that of the first folder.

        Args:
            names: relative to the folders, or absolute; their suffixes in either case.

        Raises:
            EnvironmentFaultError: if the system does not say.
        """
        for wanted in (folder / name for name in names for folder in self.folders):
            folder = wanted.parent
            name = self._names_in(folder).get(with_lower_suffix(wanted.name))
            if name is None:
                continue
            with access_to(wanted):
                if (path := folder / name).is_file():
                    return path
        return None

    def _names_in(self, folder: Path) -> dict[str, str]:
        """Each name by what it is with its suffix in lower case; of two that differ by nothing else, the lower one."""
        with self._lock:  # or each thread would list a folder of 300,000 files for itself
            if folder not in self._listed:
                self._listed[folder] = {with_lower_suffix(name): name for name in names_in(folder)}
            return self._listed[folder]
