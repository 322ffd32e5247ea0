"""What tells the audio of examples from any other: features and scores are filed under it.

Conventions:
    A file is known by its size and its bytes, never by its name, place or time, so that a data folder may move.
    Of a file longer than `WHOLE_BYTES` three pieces count: begin, middle, end. Who mends a WAV in place between them, at
    equal length, has to ask for new features.
    What was read is remembered by path, size and time of change, so that a second look costs one `stat` a file.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray_musicssl.run_dir import HASH_LENGTH, hash_of, read_json, write_json
from ray_musicssl.tasks.base import Example

PIECE_BYTES = 65_536
WHOLE_BYTES = 3 * PIECE_BYTES  # 34 s of CPU for 300,000 notes of 128 kB, once


def audio_identity(examples: Sequence[Example], memory_path: Path) -> list[list[Any]]:
    """What tells the audio of these examples from any other: JSON-like, to be hashed.

    Args:
        examples: whose audio.
        memory_path: a JSON file where hashes of files are kept for the next time; a damaged one is made again.
    """
    known = _remembered(memory_path)
    hashes: dict[Path, str] = {}
    fresh: dict[str, list[Any]] = {}
    for path in sorted({example.path for example in examples}):
        status = path.stat()
        key, stamp = str(path.absolute()), [status.st_size, status.st_mtime_ns]
        entry = known.get(key)
        if entry is None or entry[:2] != stamp:
            entry = fresh[key] = [*stamp, file_hash(path, status.st_size)]
        hashes[path] = entry[2]
    if fresh:
        write_json(memory_path, {**known, **fresh})
    return [[example.id, hashes[example.path], example.offset_s, example.duration_s] for example in examples]


def stretch_keys(audio: Sequence[Sequence[Any]]) -> list[str]:
    """A key of what each example sounds like, whatever it is called: of what `audio_identity` gives."""
    return [hash_of([content, offset_s, duration_s]) for _, content, offset_s, duration_s in audio]


def file_hash(path: Path, size: int) -> str:
    """A hash of a file's size and of its bytes, or of three pieces of them if it is long."""
    digest = hashlib.sha256(f"{size}:".encode())
    with path.open("rb", buffering=0) as file:
        if size <= WHOLE_BYTES:
            digest.update(file.read())
        else:
            for start in (0, (size - PIECE_BYTES) // 2, size - PIECE_BYTES):
                file.seek(start)
                digest.update(file.read(PIECE_BYTES))
    return digest.hexdigest()[:HASH_LENGTH]


def _remembered(path: Path) -> Mapping[str, list[Any]]:
    """Path -> size, time of change in ns, hash. Nothing is lost with the file but time."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
