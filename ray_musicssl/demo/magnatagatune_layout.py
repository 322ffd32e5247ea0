"""MagnaTagATune in miniature: how its clips are named, and its two tables.

Conventions:
    The first hex digit of a clip's folder is its split: 0 to b train, c valid, d to f test.
    Tables are tab-separated with every field in double quotes and LF.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ray_musicssl.demo.artists import artists_of
from ray_musicssl.demo.file_job import FileJob
from ray_musicssl.demo.tags import MAGNATAGATUNE, magnatagatune_tags
from ray_musicssl.demo.traits import traits_of
from ray_musicssl.run_dir import write_text

# Source: the usual split of MagnaTagATune, 12 : 1 : 3 by folder.
FOLDERS = {"train": "0123456789ab", "valid": "c", "test": "def"}
_CLIPS_PER_ARTIST = 3
_CLIP_S = 29
_INFO_COLUMNS = (
    *("clip_id", "track_number", "title", "artist", "album", "url"),
    *("segmentStart", "segmentEnd", "original_url", "mp3_path"),
)


def clip_path(split: str, number: int) -> str:
    """Where the clip of this number in its split lies, below the data set's folder."""
    artist_number, track = divmod(number, _CLIPS_PER_ARTIST)
    artists = artists_of("train")
    # Each split has a third of the names to itself.
    third = len(artists) // len(FOLDERS)
    artist = artists[list(FOLDERS).index(split) * third + artist_number % third].lower().replace(" ", "_")
    digits = FOLDERS[split]
    start_s = _CLIP_S * (number % 5)
    song = f"{artist}-volume_{artist_number // third + 1}-{track + 1:02d}-piece_{number}"
    return f"mp3/{digits[artist_number % len(digits)]}/{song}-{start_s}-{start_s + _CLIP_S}.mp3"


def clip_id(job: FileJob) -> int:
    """The clip's number in the tables; like the release's, it is no plain count."""
    return 2 + 7 * job.index


def write_magnatagatune(jobs: Sequence[FileJob], folder: Path) -> None:
    """Write both tables."""
    tags = list(MAGNATAGATUNE)
    annotations = [["clip_id", *tags, "mp3_path"]]
    infos = [list(_INFO_COLUMNS)]
    for job in jobs:
        given = magnatagatune_tags(traits_of(job.score()))
        mp3_path = "/".join(PurePosixPath(job.path).parts[-2:])
        annotations.append([str(clip_id(job)), *("1" if tag in given else "0" for tag in tags), mp3_path])
        artist, album, track, title, start, end = PurePosixPath(job.path).stem.split("-")
        infos.append([str(clip_id(job)), str(int(track)), title, artist, album, "", start, end, "", mp3_path])
    # The release also lists clips that were never published.
    infos.append(["1", "1", "Lost", "Nobody", "Nothing", "", "0", str(_CLIP_S), "", ""])
    write_text(folder / "annotations_final.csv", _table(annotations))
    write_text(folder / "clip_info_final.csv", _table(infos))


def _table(rows: Iterable[Sequence[str]]) -> str:
    return "".join("\t".join(f'"{field}"' for field in row) + "\n" for row in rows)
