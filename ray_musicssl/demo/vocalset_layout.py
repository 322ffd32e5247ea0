"""VocalSet in miniature: how its recordings are named, and its two lists of singers.

Conventions:
    Singer and technique are those of the folders. A file's name says them too, but for a few names that leave the
    singer out, as the release has them.
"""

from pathlib import Path

from ray_musicssl.demo.file_job import Take
from ray_musicssl.demo.voices import VOCALSET_SINGERS, code_of, folder_of
from ray_musicssl.run_dir import write_bytes, write_text

ROOT = "VocalSet"
# Source: the release's list of singers whose techniques are to be recognised.
TEST_SINGERS = ("f2", "f8", "m3", "m5", "m10")
# The release has no list for validation; these are the six that `ray_musicssl.tasks` takes for it.
VALID_SINGERS = ("f3", "f6", "f9", "m2", "m7", "m11")
_ODD_EVERY = 17  # one name in so many is irregular


def by_split(singer: int) -> tuple[int, int]:
    """A sort key that puts singers of the test first, then those of validation, then those of training."""
    code = code_of(singer)
    return (0 if code in TEST_SINGERS else 1 if code in VALID_SINGERS else 2, singer)


def recording_path(take: Take, number: int) -> str:
    """Where a recording lies, below the data set's folder.

    Args:
        take: what it is.
        number: how many recordings of this singer come before it; excerpts are told apart by it.
    """
    code, context, technique = code_of(take.singer), take.context, take.technique
    folder = f"{ROOT}/FULL/{folder_of(take.singer)}/{context}/{technique}"
    if context == "excerpts":
        return f"{folder}/{code}_{('row', 'dona', 'caro')[number % 3]}_{technique}{_again(number // 3)}.wav"
    short = {"arpeggios": "arpeggios", "scales": "scales", "long_tones": "long"}[context]
    if (take.singer + 3 * number) % _ODD_EVERY == 0:
        return f"{folder}/{short}_{technique}_{take.vowel}{_again(number)}.wav"
    return f"{folder}/{code}_{short}_{technique}_{take.vowel}{_again(number)}.wav"


def _again(number: int) -> str:
    return f"_{number + 1}" if number else ""


def write_vocalset(folder: Path) -> None:
    """Write the lists of singers, and a file that is no recording, as the archive has some."""
    codes = {number: code_of(number) for number in VOCALSET_SINGERS}
    for split in ("train", "test"):
        names = [folder_of(n) for n, code in codes.items() if (code in TEST_SINGERS) == (split == "test")]
        write_text(folder / ROOT / f"{split}_singers_technique.txt", "".join(f"{name}\n" for name in names))
    write_bytes(folder / ROOT / "FULL" / ".DS_Store", b"\0\0\0\1Bud1")
