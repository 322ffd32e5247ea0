"""Nothing may be learned in one split and asked for in another: tracks, groups and audio are kept apart.

Conventions:
    Two files hold the same audio if they are the same bytes. That is found out in three steps, each for the files that
    the step before could not tell apart: the size, a piece from the middle, the whole.
    A track or a group in two splits is always refused. The same audio is refused in a split that is ours or whose lists
    are not the published ones. Where the lists are whole, as published, it gives a note: the twins are then the data
    set's own (GiantSteps has one pair), every published score has them, and no one can use the data set without. A
    file that is missing or broken changes no list.
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
from typing import NoReturn

import soundfile

from ray_musicssl.errors import DataError
from ray_musicssl.tasks.base import SPLITS, Example, Split
from ray_musicssl.tasks.files import access_to
from ray_musicssl.tasks.locate import MEMORY_FILES

NUM_THREADS = 16  # they wait for the disk, not for the processor
GROUP_SEPARATOR = " | "  # between the groups of an example that has several, such as the artists of a remix
PIECE_BYTES = 4096
_BLOCK_BYTES = 1 << 20

File = tuple[Path, Split]
Pair = tuple[Split, Split]
EVERY_PAIR: tuple[Pair, ...] = tuple(combinations(SPLITS, 2))


@dataclass(frozen=True, kw_only=True)
class Apart:
    """What the splits of a data set do not share, by its authors' promise."""

    noun: str  # what a group is, for messages
    pairs: Sequence[Pair] = EVERY_PAIR  # the splits that share no group


def refuse_leaks(
    dataset: str,
    examples: Sequence[Example],
    *,
    apart: Apart | None,
    has_audio: bool = True,
    is_published: bool = False,
) -> list[str]:
    """Check that no track, no group and no audio is in two splits.

    Args:
        dataset: names the data set in the message.
        examples: all that a reader found.
        apart: the promise about groups; None: there is none.
        has_audio: whether the files are there to be compared.
        is_published: whether the splits are those of the published lists, whole; the same audio is then no error.

    Returns:
        What a reader of the scores should know of audio that the published splits share.

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
    # Silence is nobody's recording: files of nothing but zeros may be alike.
    files: set[File] = {(e.path, e.split) for e in examples} if has_audio else set()
    twins = [pair for pair in same_audio(files) if not _is_silent(pair[0][0])]
    if twins and not is_published:
        _refuse_twins(dataset, twins)
    return [_twins_note(dataset, twins)] if twins else []


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


def _refuse_twins(dataset: str, twins: Sequence[tuple[File, File]]) -> NoReturn:
    (first, first_split), (second, second_split) = twins[0]
    raise DataError(
        f"{dataset}: {first} ({first_split}) and {second} ({second_split}) are the same audio, "
        f"{_others(len(twins) - 1)}; a probe would be asked for what it was shown; remove one of the two files (it "
        f"then counts as missing), or fetch it again if it is a copy by mistake"
    )


def _twins_note(dataset: str, twins: Sequence[tuple[File, File]]) -> str:
    (first, first_split), (second, second_split) = twins[0]
    return (
        f"the same audio is in two published splits of {dataset} under two names ({len(twins)} in all, such as "
        f"{first.name} in {first_split} and {second.name} in {second_split}); published scores have such twins too, "
        f"unless these are copies made here by mistake"
    )


def same_audio(files: Iterable[File]) -> list[tuple[File, File]]:
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
    files: Sequence[File], fingerprint: Callable[[Path], Hashable], pool: ThreadPoolExecutor
) -> list[list[File]]:
    """The files with equal fingerprints, where they are of more than one split."""
    parts: dict[Hashable, list[File]] = defaultdict(list)
    for file, key in zip(files, pool.map(fingerprint, [path for path, _ in files]), strict=True):
        parts[key].append(file)
    return [part for part in parts.values() if len({split for _, split in part}) > 1]


def _is_silent(path: Path) -> bool:
    try:
        with access_to(path), soundfile.SoundFile(path) as file:
            return not any(block.any() for block in file.blocks(_BLOCK_BYTES, dtype="float32"))
    except soundfile.LibsndfileError:  # its header is whole and its audio is not: whatever that is, it is no silence
        return False


def _size_bytes(path: Path) -> int:
    with access_to(path):
        return path.stat().st_size


def _piece_hash(path: Path) -> bytes:
    with access_to(path):
        status = path.stat()
        return _hash(path, status.st_size, status.st_mtime_ns, is_whole=False)


def _whole_hash(path: Path) -> bytes:
    with access_to(path):
        status = path.stat()
        return _hash(path, status.st_size, status.st_mtime_ns, is_whole=True)


@lru_cache(maxsize=MEMORY_FILES)
def _hash(path: Path, size_bytes: int, mtime_ns: int, *, is_whole: bool) -> bytes:  # noqa: ARG001  (as in `locate`)
    """Of a file or of a piece from its middle; two tasks of one data set read a file once."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        if is_whole:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
        else:
            file.seek(max(0, (size_bytes - PIECE_BYTES) // 2))
            digest.update(file.read(PIECE_BYTES))
    return digest.digest()
