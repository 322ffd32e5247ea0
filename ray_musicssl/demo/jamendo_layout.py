"""MTG-Jamendo in miniature: how its tracks are numbered, and its lists of tags.

Conventions:
    A list has the columns TRACK_ID ARTIST_ID ALBUM_ID PATH DURATION and then one more for each tag: rows are ragged.
    Lists of a split have CRLF, all others LF. Audio is that of `audio-low`: `.low.mp3` where the lists say `.mp3`.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ray_musicssl.demo.file_job import FileJob
from ray_musicssl.demo.tags import jamendo_tags
from ray_musicssl.demo.traits import traits_of
from ray_musicssl.run_dir import write_text

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
# Subset -> the categories it has; the last one has the most frequent tags of all.
_SUBSETS = {
    "genre": ("genre",),
    "instrument": ("instrument",),
    "moodtheme": ("mood/theme",),
    "top50tags": ("genre", "instrument", "mood/theme"),
}
_MOST_FREQUENT = 50
_HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"
_TRACKS_PER_ARTIST, _TRACKS_PER_ALBUM = 3, 2
_ARTISTS_OF_A_SPLIT = 100_000  # numbers of artists are never shared

Tags = Mapping[str, Sequence[str]]  # of each track, by path


def track_path(index: int) -> str:
    """Where a track lies, below the data set's folder: its folder is the last two digits of its number."""
    number = _track_number(index)
    return f"audio/{number % 100:02d}/{number}.low.mp3"


def write_jamendo(jobs: Sequence[FileJob], folder: Path) -> None:
    """Write the lists of all four subsets, and the vocabularies."""
    data = folder / "mtg-jamendo-dataset" / "data"
    by_category = {job.path: jamendo_tags(traits_of(job.score())) for job in jobs}
    rows = _Rows(jobs)
    for subset, categories in _SUBSETS.items():
        tags = {path: [tag for c in categories for tag in found[c]] for path, found in by_category.items()}
        if subset == "top50tags":
            tags = _with_only(tags, _most_frequent(tags))
        write_text(data / f"autotagging_{subset}.tsv", rows.text(jobs, tags, "\n"))
        kept = _in_every_split(jobs, tags)
        for split, name in SPLITS.items():
            part = [job for job in jobs if job.split == split]
            path = data / "splits" / "split-0" / f"autotagging_{subset}-{name}.tsv"
            write_text(path, rows.text(part, _with_only(tags, kept), "\r\n"))
        if subset in {"moodtheme", "top50tags"}:
            _write_words(data / "tags", subset, {tag for found in tags.values() for tag in found}, kept)


def _track_number(index: int) -> int:
    # Coprime steps spread the numbers over the hundred folders.
    return 214 + 37 * index


class _Rows:
    """Lines of the lists; a track's numbers are those of its place in its split."""

    def __init__(self, jobs: Sequence[FileJob]) -> None:
        self._artist: dict[str, int] = {}
        self._album: dict[str, int] = {}
        for part, split in enumerate(SPLITS):
            for number, job in enumerate(job for job in jobs if job.split == split):
                first = part * _ARTISTS_OF_A_SPLIT
                self._artist[job.path] = first + number // _TRACKS_PER_ARTIST
                self._album[job.path] = first + number // _TRACKS_PER_ALBUM

    def text(self, jobs: Sequence[FileJob], tags: Tags, newline: str) -> str:
        """A whole list; tracks without tags are left out."""
        lines = [_HEADER, *(self._line(job, tags[job.path]) for job in jobs if tags[job.path])]
        return "".join(f"{line}{newline}" for line in lines)

    def _line(self, job: FileJob, tags: Sequence[str]) -> str:
        place = PurePosixPath(job.path)
        name = place.name.removesuffix(".low.mp3")
        numbers = (
            f"track_{int(name):07d}",
            f"artist_{self._artist[job.path]:06d}",
            f"album_{self._album[job.path]:06d}",
        )
        return "\t".join((*numbers, f"{place.parent.name}/{name}.mp3", f"{job.duration_s:.1f}", *tags))


def _most_frequent(tags: Tags) -> set[str]:
    counts = Counter(tag for found in tags.values() for tag in found)
    return {tag for tag, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_FREQUENT]}


def _in_every_split(jobs: Sequence[FileJob], tags: Tags) -> set[str]:
    """The tags that train, validation and test all have; as in the release, the lists of a split have no others."""
    parts = [{tag for job in jobs if job.split == split for tag in tags[job.path]} for split in SPLITS]
    return set.intersection(*parts)


def _with_only(tags: Tags, kept: Collection[str]) -> dict[str, list[str]]:
    return {path: [tag for tag in found if tag in kept] for path, found in tags.items()}


def _write_words(folder: Path, subset: str, words: Collection[str], kept: Collection[str]) -> None:
    if subset == "top50tags":
        write_text(folder / "top50.txt", "".join(f"{word}\n" for word in sorted(words)))
        return
    write_text(folder / "moodtheme.txt", "".join(f"{word}\n" for word in sorted(words)))
    write_text(folder / "moodtheme_split.txt", "".join(f"{word}\n" for word in sorted(kept)))
