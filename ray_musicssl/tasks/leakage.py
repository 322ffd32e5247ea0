"""Nothing may be learned in one split and asked for in another: tracks, groups and audio are kept apart.

Conventions:
    Two files hold the same audio if they are the same bytes. That is found out in three steps, each for the files that
    the step before could not tell apart: the size, a piece from the middle, the whole.
    A group is what the authors of a data set promise to keep apart: an artist, a singer, an instrument.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import soundfile

from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.tasks.base import SPLITS, Example, Split
from ray_musicssl.tasks.locate import MEMORY_FILES

NUM_THREADS = 16  # they wait for the disk, not for the processor
GROUP_SEPARATOR = " | "  # between the groups of an example that has several, such as the artists of a remix
PIECE_BYTES = 4096
_BLOCK_BYTES = 1 << 20

Pair = tuple[Split, Split]
EVERY_PAIR: tuple[Pair, ...] = tuple(combinations(SPLITS, 2))


@dataclass(frozen=True, kw_only=True)
class Apart:
    """What the splits of a data set do not share, by its authors' promise."""

    noun: str  # what a group is, for messages
    pairs: Sequence[Pair] = EVERY_PAIR  # the splits that share no group


def refuse_leaks(dataset: str, examples: Sequence[Example], *, apart: Apart | None, has_audio: bool = True) -> None:
    """Check that no track, no group and no audio is in two splits.

    Args:
        dataset: names the data set in the message.
        examples: all that a reader found.
        apart: the promise about groups; None: there is none.
        has_audio: whether the files are there to be compared.

    Raises:
        DataError: naming what is shared, by whom, and the remedy.
        EnvironmentFaultError: if a file cannot be read that could be opened before.
    """
    tracks: dict[tuple[str, Split], str] = {(e.track, e.split): e.track for e in examples}
    _refuse_shared(dataset, "track", tracks, EVERY_PAIR)
    if apart is not None:
        names: dict[tuple[str, Split], str] = {
            (name, e.split): e.track for e in examples if e.group for name in e.group.split(GROUP_SEPARATOR)
        }
        _refuse_shared(dataset, apart.noun, names, apart.pairs)
    if has_audio:
        _refuse_same_audio(dataset, {(e.path, e.split) for e in examples})


def _refuse_shared(dataset: str, noun: str, track_of: Mapping[tuple[str, Split], str], pairs: Sequence[Pair]) -> None:
    """Refuse a name that occurs in both splits of a pair; `track_of` has a track for each name and split."""
    for left, right in pairs:
        shared = sorted(name for name, split in track_of if split == left and (name, right) in track_of)
        if shared:
            name = shared[0]
            here, there = track_of[name, left], track_of[name, right]
            where = "" if here == there == name else f' (in "{here}" and "{there}")'
            raise DataError(
                f'{dataset}: {noun} "{name}" is in {left} and in {right}{where}, {_others(len(shared) - 1)}; a probe '
                f"would be asked for what it was shown; take it off the list of one split, or fetch the official "
                "lists again"
            )


def _others(count: int) -> str:
    return "and no other" if count == 0 else f"and so are {count} more"


def _refuse_same_audio(dataset: str, files: Iterable[tuple[Path, Split]]) -> None:
    # Silence is nobody's recording: files of nothing but zeros may be alike.
    same = [pair for pair in same_audio(files) if not _is_silent(pair[0][0])]
    if same:
        (first, first_split), (second, second_split) = same[0]
        raise DataError(
            f"{dataset}: {first} ({first_split}) and {second} ({second_split}) are the same audio, "
            f"{_others(len(same) - 1)}; a probe would be asked for what it was shown; remove one of the two files (it "
            f"then counts as missing), or fetch it again if it is a copy by mistake"
        )


def same_audio(files: Iterable[tuple[Path, Split]]) -> list[tuple[tuple[Path, Split], tuple[Path, Split]]]:
    """Two files of different splits for each content that two splits share, by path.

    Raises:
        EnvironmentFaultError: if a file cannot be read.
    """
    alike = [sorted(set(files), key=lambda file: (str(file[0]), SPLITS.index(file[1])))]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for fingerprint in (_size_bytes, _piece_hash, _whole_hash):
            alike = [part for group in alike for part in _parted(group, fingerprint, pool)]
    return [(group[0], next(file for file in group if file[1] != group[0][1])) for group in alike]


def _parted(
    files: Sequence[tuple[Path, Split]], fingerprint: Callable[[Path], Hashable], pool: ThreadPoolExecutor
) -> list[list[tuple[Path, Split]]]:
    """The files with equal fingerprints, where they are of more than one split."""
    parts: dict[Hashable, list[tuple[Path, Split]]] = defaultdict(list)
    for file, key in zip(files, pool.map(fingerprint, [path for path, _ in files]), strict=True):
        parts[key].append(file)
    return [part for part in parts.values() if len({split for _, split in part}) > 1]


def _is_silent(path: Path) -> bool:
    with soundfile.SoundFile(path) as file:
        return not any(block.any() for block in file.blocks(_BLOCK_BYTES, dtype="float32"))


def _size_bytes(path: Path) -> int:
    return path.stat().st_size


def _piece_hash(path: Path) -> bytes:
    status = path.stat()
    return _hash(path, status.st_size, status.st_mtime_ns, is_whole=False)


def _whole_hash(path: Path) -> bytes:
    status = path.stat()
    return _hash(path, status.st_size, status.st_mtime_ns, is_whole=True)


@lru_cache(maxsize=MEMORY_FILES)
def _hash(path: Path, size_bytes: int, mtime_ns: int, *, is_whole: bool) -> bytes:  # noqa: ARG001  (as in `locate`)
    """Of a file or of a piece from its middle; two tasks of one data set read a file once."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            if is_whole:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
            else:
                file.seek(max(0, (size_bytes - PIECE_BYTES) // 2))
                digest.update(file.read(PIECE_BYTES))
    except OSError as error:
        raise EnvironmentFaultError(
            f"{path} could be opened before and cannot be read now ({error}); check its disk, network and "
            f"permissions, then run the same command again"
        ) from error
    return digest.digest()
