"""The loop that every reader shares: from the items a data set lists to examples, and to reasons for what is left out.

Conventions:
    A reader finds out what the annotations say (items) and where the audio may be (folders); this file does the rest.
    The reason that annotations give comes first, then what opening the audio shows, then that there is no answer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ray_musicssl.tasks.base import SPLITS, Example, Reason, Skipped, Split, TaskData, count_notes
from ray_musicssl.tasks.files import NamedFiles
from ray_musicssl.tasks.leakage import NUM_THREADS, Apart, refuse_leaks
from ray_musicssl.tasks.locate import MIN_AUDIO_S, AudioCheck, check_audio, need_every_split

_BATCH_ITEMS = 4096  # handed to the threads at a time
_ROUNDING_S = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """What the annotations say of one track."""

    id: str
    split: Split | None  # None: the annotations do not say, which is a fault
    names: Sequence[str]  # where its audio may be, relative to one of the folders, the first choice first; or absolute
    target: Any = None
    fault: Reason | None = None  # why the annotations alone rule it out
    group: str = ""  # see `Example.group`


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How a track is cut: from its start, without gaps or overlap."""

    length_s: float
    least_s: float  # a shorter rest is dropped, but for a track that has nothing else
    slack_s: float = _ROUNDING_S  # a rest this little too short counts as long enough

    def of(self, duration_s: float) -> list[tuple[float, float]]:
        """Offset and duration of each window, in seconds; the whole track if it is shorter than the least."""
        windows: list[tuple[float, float]] = []
        while (rest_s := duration_s - len(windows) * self.length_s) >= self.least_s - self.slack_s and rest_s > 0:
            is_full = rest_s >= self.length_s - self.slack_s
            windows.append((len(windows) * self.length_s, self.length_s if is_full else rest_s))
        return windows or [(0.0, duration_s)]


Answer = Callable[[Item, float], Any]
"""(item, duration in seconds or infinity) -> its target, or None if it has none."""


def _own_target(item: Item, duration_s: float) -> Any:  # noqa: ARG001  (an `Answer`)
    return item.target


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A data set as its annotations describe it."""

    dataset: str
    items: Sequence[Item]
    folders: Sequence[Path]  # of audio; where it would be if there is none
    classes: Sequence[str]
    official: Mapping[Split, int] | None = None  # tracks by split in the published data set
    is_part: bool = False  # of the published data set, as a reader can tell where its counts are not known
    windows: Windows | None = None  # None: tracks are used whole
    min_s: float = MIN_AUDIO_S
    answer: Answer = _own_target
    apart: Apart | None = None  # what splits do not share, beside tracks and audio
    notes: Sequence[str] = ()


def read_items(listing: Listing, data_dir: Path, *, annotations_only: bool) -> TaskData:
    """The examples of a data set, and what is left out of it.

    Args:
        listing: what the reader knows.
        data_dir: named in messages.
        annotations_only: do not look at the audio; every item is then one example without bounds.

    Raises:
        DataError: if a split has nothing usable, or two splits share what they may not.
        EnvironmentFaultError: if the system does not give a file that is there.
    """
    examples: list[Example] = []
    skipped: list[Skipped] = []
    for item, found in _found(listing, annotations_only=annotations_only):
        target = None if found.fault else listing.answer(item, found.duration_s or float("inf"))
        reason: Reason | None = found.fault or ("no_label" if target is None else None)
        if reason or item.split is None:
            path = str(found.path)
            skipped.append(Skipped(id=item.id, split=item.split or "", path=path, reason=reason or "bad_row"))
            continue
        examples += _examples(item, item.split, target, found, listing.windows)
    expected: dict[Split, int] = {split: sum(item.split == split for item in listing.items) for split in SPLITS}
    notes = [] if listing.official is None else count_notes(listing.dataset, expected, listing.official)
    data = TaskData(
        examples=sorted(examples, key=lambda example: example.id),
        skipped=skipped,
        expected=expected,
        classes=listing.classes,
        notes=[*notes, *listing.notes],
        official=listing.official,
        is_part=listing.is_part or bool(notes),
    )
    need_every_split(listing.dataset, data_dir, data)
    twins = refuse_leaks(
        listing.dataset,
        data.examples,
        apart=listing.apart,
        has_audio=not annotations_only,
        is_published=listing.official == expected,
    )
    return replace(data, notes=[*data.notes, *twins])


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Where the audio of an item is, and what is known of it."""

    path: Path
    duration_s: float | None = None  # None: not looked at
    fault: Reason | None = None


def _found(listing: Listing, *, annotations_only: bool) -> Iterator[tuple[Item, _Found]]:
    """Every item with its file, in order; files are opened side by side, as each may wait for a network disk."""
    files = NamedFiles(listing.folders)

    def look(item: Item) -> _Found:
        expected_path = listing.folders[0] / item.names[0]
        if annotations_only:
            return _Found(path=expected_path, fault=item.fault)
        path = files.first(item.names)
        check = AudioCheck() if item.fault else check_audio(path, min_s=listing.min_s)
        return _Found(path=path or expected_path, duration_s=check.duration_s, fault=item.fault or check.fault)

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for begin in range(0, len(listing.items), _BATCH_ITEMS):
            batch = listing.items[begin : begin + _BATCH_ITEMS]
            yield from zip(batch, pool.map(look, batch), strict=True)


def _examples(item: Item, split: Split, target: Any, found: _Found, windows: Windows | None) -> list[Example]:
    """One example a window; of a track that is used whole, or was not looked at, one."""
    bounds: Sequence[tuple[float, float | None]] = [(0.0, found.duration_s)]
    is_cut = windows is not None and found.duration_s is not None
    if windows is not None and found.duration_s is not None:
        bounds = windows.of(found.duration_s)
    return [
        Example(
            id=f"{item.id}-{number:03d}" if is_cut else item.id,
            track=item.id,
            path=found.path,
            split=split,
            target=target,
            offset_s=offset_s,
            duration_s=duration_s,
            group=item.group,
        )
        for number, (offset_s, duration_s) in enumerate(bounds)
    ]
