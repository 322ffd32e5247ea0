"""Manifests that people write: a CSV with a column `path`, or JSON lines with a key `path`."""

import csv
import io
import json
from collections.abc import Iterator

from ray_musicssl.errors import DataError

_SUFFIXES = (".csv", ".jsonl")


def is_manifest(name: str) -> bool:
    """Whether a name is a manifest's rather than an audio file's."""
    return name.lower().endswith(_SUFFIXES)


def read_paths(data: bytes, *, name: str) -> list[str]:
    """The `path` of every row, in order; other columns are ignored.

    Args:
        data: the manifest's bytes, UTF-8 (bytes that are not are kept as surrogate escapes).
        name: what to call the manifest in messages; its ending tells CSV from JSON lines.

    Raises:
        DataError: if a row has no path or is not JSON; the message gives the line.
    """
    text = data.decode("utf-8-sig", "surrogateescape")
    rows = _csv_rows(text, name) if name.lower().endswith(".csv") else _json_rows(text, name)
    paths = []
    for line, path in rows:
        if not isinstance(path, str) or not path or "\0" in path:
            raise DataError(f"{name}, line {line}: path is {path!r}; it must be the name of a file")
        paths.append(path)
    return paths


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, str | None]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if "path" not in (reader.fieldnames or ()):
        columns = ", ".join(reader.fieldnames or ()) or "none"
        raise DataError(f"{name} has no column path (its columns: {columns}); name the column of file names path")
    for row in reader:
        yield reader.line_num, row["path"]


def _json_rows(text: str, name: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{name}, line {number} is not JSON ({error}); write one object a line") from error
        yield number, row.get("path") if isinstance(row, dict) else None
