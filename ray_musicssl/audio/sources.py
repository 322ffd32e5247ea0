r"""Which audio files there are: in a folder, behind a glob, in a manifest, on this machine or in an object store.

Conventions:
    A file's `path` is relative to the listing's root, with "/" between names: moving the collection changes nothing.
    Bytes of a name that are not UTF-8 travel as surrogate escapes and are shown as `\xff`.
    Everything found with an audio extension gets a row, also what cannot be opened: `problem` says why.
"""

import errno
import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ray_musicssl.audio import remote_sources, track_list
from ray_musicssl.errors import DataError
from ray_musicssl.run_dir import HASH_LENGTH

EXTENSIONS = ("wav", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "au")
# Audio that the decoder does not know: named in the ledger instead of passed over.
UNSUPPORTED = (
    *("m4a", "m4b", "mp4", "aac", "alac", "wma", "ape", "wv", "mpc", "tta", "tak", "ac3", "dts", "dsf", "dff", "mka"),
    *("ra", "amr"),
)
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, kw_only=True)
class AudioFile:
    """One input file, or one thing found where a file should be."""

    path: str  # relative to the listing's root
    location: str  # what opens it: a path on this machine, or inside `store`
    store: str = ""  # URI of the file system that has it; empty: this machine's
    size_bytes: int = 0
    mtime_ns: int = 0
    problem: str = ""  # why it is rejected without being opened

    @property
    def track_id(self) -> str:
        """A name for the recording that depends on `path` alone."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:HASH_LENGTH]

    @property
    def shown_path(self) -> str:
        """`path` as text that every program can hold: one line, valid UTF-8, and different for different paths."""
        text = os.fsencode(self.path.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(frozen=True)
class _Folder:
    location: Path
    prefix: str  # of the paths of what it holds
    ancestors: frozenset[tuple[int, int]]  # (device, inode) of the folders above

    @property
    def name(self) -> str:
        return self.prefix.rstrip("/") or "."


def list_files(audio: str) -> list[AudioFile]:
    """List the audio files that `audio` names, sorted by path.

    Args:
        audio: a folder, one file, a glob, a CSV or JSONL manifest with a column or key `path`, or a URI
            (`s3://`, `gs://`, `file://`) of a folder, a file or a manifest.

    Raises:
        DataError: if there is nothing of that name, it cannot be reached, or it holds no audio file.
    """
    if remote_sources.is_uri(audio):
        files = [AudioFile(**vars(found)) for found in remote_sources.list_store(audio, is_audio=has_audio_extension)]
    else:
        files = _list_local(os.path.expanduser(audio))  # noqa: PTH111  (a Path would tidy the text of a glob)
    if not files:
        raise DataError(f"{audio} holds no audio file; files ending in {', '.join(EXTENSIONS)} are looked for")
    return sorted(map(_with_format_checked, files), key=lambda file: file.path)


def has_audio_extension(name: str) -> bool:
    """Whether a name ends like an audio file's, decodable or not; what macOS writes beside a file (`._*`) is none."""
    return _extension(name) in (*EXTENSIONS, *UNSUPPORTED) and not name.rpartition("/")[2].startswith("._")


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _with_format_checked(file: AudioFile) -> AudioFile:
    extension = _extension(file.path)
    if file.problem or extension not in UNSUPPORTED:
        return file
    return replace(file, problem=f"unsupported format: {extension}")


def _list_local(audio: str) -> list[AudioFile]:
    path = Path(audio)
    if path.is_dir():
        return list(_walk(path))
    if path.exists():
        if track_list.is_manifest(audio):
            return _listed(path)
        return [_examine(path, path.name)]
    if glob.has_magic(audio):
        return _matching(audio)
    raise DataError(f"there is no {audio}; give a folder, a glob, a CSV or JSONL manifest, or a URI")


def _walk(root: Path) -> Iterator[AudioFile]:
    """Every audio file below a folder, links followed; a link back to a folder above is a row, not an endless path."""
    folders: list[_Folder] = [_Folder(root, "", frozenset())]
    while folders:
        folder = folders.pop()
        try:
            status = folder.location.stat()
            entries = list(os.scandir(folder.location))
        except OSError as error:
            yield AudioFile(path=folder.name, location=str(folder.location), problem=_reason(error))
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in folder.ancestors:
            yield AudioFile(path=folder.name, location=str(folder.location), problem="symlink loop")
            continue
        for entry in entries:
            location = folder.location / entry.name
            if _is_folder(entry):
                folders.append(_Folder(location, f"{folder.prefix}{entry.name}/", folder.ancestors | {identity}))
            elif has_audio_extension(entry.name):
                yield _examine(location, f"{folder.prefix}{entry.name}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _examine(location: Path, path: str) -> AudioFile:
    """A row for whatever is at `location`; nothing is opened, so that a FIFO cannot hold us up."""
    location = location.absolute()  # whoever opens it may have another working directory
    try:
        status = location.stat()
    except OSError as error:
        return AudioFile(path=path, location=str(location), problem=_reason(error))
    kind = next((text for is_kind, text in _KINDS if is_kind(status.st_mode)), "")
    return AudioFile(
        path=path,
        location=str(location),
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        problem=f"not a regular file: {kind}" if kind else "",
    )


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "symlink loop"
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, PermissionError):
        return "permission denied"
    return f"cannot be read: {error.strerror}"


def _matching(pattern: str) -> list[AudioFile]:
    """The audio files a glob matches; the root is the part of the pattern before its first wildcard."""
    parts = pattern.split("/")
    first_magic = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    root = "/".join(parts[:first_magic])
    prefix = f"{root}/" if first_magic else ""
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  (Path.glob takes no absolute pattern)
    found = [name for name in names if has_audio_extension(name) and not os.path.isdir(name)]  # noqa: PTH112
    return [_examine(Path(name), name.removeprefix(prefix)) for name in found]


def _listed(manifest: Path) -> list[AudioFile]:
    """The files a manifest names, each once, whatever their extension."""
    lines = track_list.read_paths(manifest.read_bytes(), name=str(manifest))
    uris = [line for line in lines if remote_sources.is_uri(line)]
    local = [line for line in lines if not remote_sources.is_uri(line)]
    found = {file.path: file for file in _relative_to(manifest.parent, local)}
    found |= {item.path: AudioFile(**vars(item)) for item in remote_sources.list_uris(uris)}
    return list(found.values())


def _relative_to(root: Path, lines: Sequence[str]) -> Iterator[AudioFile]:
    root = root.absolute()
    for line in lines:
        location = Path(os.path.normpath(root / line))
        path = location.relative_to(root) if location.is_relative_to(root) else location
        yield _examine(location, str(path))
