"""Audio files in an object store or any other file system that pyarrow opens by URI.

Conventions:
    A URI may carry credentials; it is passed on to open the store and never written to disk.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pa_fs

from ray_musicssl.audio import track_list
from ray_musicssl.errors import DataError


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One object, or a name that has none; the fields of an `AudioFile`."""

    path: str
    location: str
    store: str
    size_bytes: int
    mtime_ns: int
    problem: str


@functools.lru_cache(maxsize=32)
def open_store(uri: str) -> tuple[pa_fs.FileSystem, str]:
    """The file system of a URI, and the path inside it.

    Raises:
        DataError: if the URI is malformed or of an unknown kind.
    """
    try:
        return pa_fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DataError(f"{_scheme(uri)}: the URI cannot be opened ({error}); use s3://, gs:// or file://") from error


def is_uri(text: str) -> bool:
    """Whether a text names something in a file system other than by a path of this machine."""
    return "://" in text


def list_store(uri: str, *, is_audio: Callable[[str], bool]) -> list[StoredFile]:
    """The files of the folder, file or manifest at a URI; in a folder, those whose name `is_audio`.

    Raises:
        DataError: if nothing is there, or it cannot be reached.
    """
    store, base = open_store(uri)
    base = base.rstrip("/")
    try:
        kind = store.get_file_info(base).type
        if kind == pa_fs.FileType.NotFound:
            raise DataError(f"there is nothing at {_scheme(uri)}://.../{base}; check the bucket and the folder")
        if kind == pa_fs.FileType.Directory:
            found = store.get_file_info(pa_fs.FileSelector(base, recursive=True))
            files = [info for info in found if info.type == pa_fs.FileType.File and is_audio(info.base_name)]
            return [_stored(info, base, uri) for info in files]
        folder = base.rpartition("/")[0]
        if not track_list.is_manifest(base):
            return [_stored(store.get_file_info(base), folder, uri)]
        lines = track_list.read_paths(read_bytes(uri, base), name=base)
    except OSError as error:
        raise DataError(f"{_scheme(uri)}://.../{base} cannot be listed: {error}") from error
    inside = [line for line in lines if not is_uri(line)]
    infos = store.get_file_info([f"{folder}/{line}" for line in dict.fromkeys(inside)])
    outside = [line for line in lines if is_uri(line)]
    return [*(_stored(info, folder, uri) for info in infos), *list_uris(outside)]


def list_uris(uris: Sequence[str]) -> Iterator[StoredFile]:
    """A row for each URI of a manifest, each once; the path is the URI."""
    for uri in dict.fromkeys(uris):
        store, path = open_store(uri)
        try:
            info = store.get_file_info(path)
        except OSError as error:
            raise DataError(f"{_scheme(uri)}://.../{path} cannot be reached: {error}") from error
        found = _stored(info, "", uri)
        yield StoredFile(**{**vars(found), "path": f"{_scheme(uri)}://{path}"})


def read_bytes(store_uri: str, location: str) -> bytes:
    """A whole object."""
    with open_store(store_uri)[0].open_input_stream(location, compression=None) as stream:
        return stream.read()


def _scheme(uri: str) -> str:
    # What follows the scheme may hold a key, so messages quote no more than this.
    return uri.partition("://")[0]


def _stored(info: pa_fs.FileInfo, base: str, uri: str) -> StoredFile:
    is_file = info.type == pa_fs.FileType.File
    return StoredFile(
        path=info.path.removeprefix(f"{base}/"),
        location=info.path,
        store=uri,
        size_bytes=int(info.size or 0) if is_file else 0,
        mtime_ns=int(info.mtime_ns or 0) if is_file else 0,
        problem="" if is_file else "missing" if info.type == pa_fs.FileType.NotFound else "not a regular file",
    )
