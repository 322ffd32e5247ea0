"""The lists of MTG-Jamendo, read line by line, against a slow reading of the scores."""

from collections import Counter

import pytest

from ray_musicssl.demo.corpus import plan
from ray_musicssl.demo.layouts import write_annotations

CORPUS = plan("demo", 1, ["mtg_jamendo"])
SUBSETS = ("genre", "instrument", "moodtheme", "top50tags")
PARTS = {"train": "train", "valid": "validation", "test": "test"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    write_annotations(CORPUS, out)
    return out / "datasets" / "mtg_jamendo"


def read_list(path, newline):
    text = path.read_bytes().decode("ascii")
    assert ("\r\n" in text) == (newline == "\r\n")
    header, *lines = text.split(newline)
    assert lines.pop() == ""
    assert header == "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"
    return {line.split("\t")[3]: line.split("\t") for line in lines}


@pytest.fixture(scope="module")
def lists(folder):
    data = folder / "mtg-jamendo-dataset" / "data"
    found = {(subset, "all"): read_list(data / f"autotagging_{subset}.tsv", "\n") for subset in SUBSETS}
    for subset in SUBSETS:
        for split, part in PARTS.items():
            path = data / "splits" / "split-0" / f"autotagging_{subset}-{part}.tsv"
            found[subset, split] = read_list(path, "\r\n")
    return found


def test_tracks_lie_in_the_folder_of_their_last_two_digits(lists):
    jobs = {job.path: job for job in CORPUS.jobs}
    for path, fields in lists["top50tags", "all"].items():
        number = path.split("/")[1].removesuffix(".mp3")
        assert path == f"{number[-2:].zfill(2)}/{number}.mp3"
        assert fields[0] == f"track_{int(number):07d}"
        job = jobs[f"datasets/mtg_jamendo/audio/{path.replace('.mp3', '.low.mp3')}"]
        assert float(fields[4]) == pytest.approx(job.duration_s, abs=0.051)


def test_parts_share_no_artist_no_album_and_no_track(lists):
    for subset in SUBSETS:
        for column in (0, 1, 2):
            values = [{fields[column] for fields in lists[subset, split].values()} for split in PARTS]
            assert sum(map(len, values)) == len(set.union(*values))


def test_tracks_are_in_the_part_that_was_planned(lists):
    for split in PARTS:
        planned = {job.path.split("audio/")[1].replace(".low", "") for job in CORPUS.jobs_of("mtg_jamendo", split)}
        assert set(lists["top50tags", split]) <= planned
        assert len(lists["genre", split]) >= 0.6 * len(planned)
        assert len(lists["top50tags", split]) == len(planned)


def test_every_tag_of_the_split_lists_is_in_all_three_parts(lists):
    for subset in SUBSETS:
        tags = [{tag for fields in lists[subset, split].values() for tag in fields[5:]} for split in PARTS]
        assert tags[0] == tags[1] == tags[2]
        whole = {tag for fields in lists[subset, "all"].values() for tag in fields[5:]}
        assert tags[0] <= whole
        assert len(tags[0]) >= 12


def test_some_rows_are_longer_than_others(lists):
    for subset in SUBSETS:
        assert len({len(fields) for fields in lists[subset, "all"].values()}) > 1
        assert all(len(fields) >= 6 for fields in lists[subset, "all"].values())


def test_tags_are_true_of_the_scores(lists):
    for job in CORPUS.jobs:
        score = job.score()
        path = job.path.split("audio/")[1].replace(".low", "")

        def has(subset, tag, path=path):
            return tag in lists[subset, "all"].get(path, [])[5:]

        for style in ("blues", "jazz", "reggae", "metal", "pop"):
            assert has("genre", f"genre---{style}") == (score.style == style)
        seconds = Counter()
        for note in score.notes:
            seconds["sung" if note.sung else (note.instrument.family, note.instrument.program)] += note.duration_s
        families = {name[0] for name, s in seconds.items() if s >= 0.1 and name != "sung"}
        voice = seconds["sung"] > 0 or "vocal" in families
        expected = {
            "drums": bool(score.strokes),
            "bass": "bass" in families,
            "flute": "flute" in families,
            "voice": voice,
        }
        for tag, is_there in expected.items():
            assert has("instrument", f"instrument---{tag}") == is_there, (path, tag)
        assert has("moodtheme", "mood/theme---fast") == (score.tempo_bpm > 125)
        assert has("moodtheme", "mood/theme---happy") == (score.key.mode == "major" and score.tempo_bpm > 100)


def test_top50_has_the_50_most_frequent_tags_of_all_three_categories(lists, folder):
    counts = Counter(tag for subset in SUBSETS[:3] for fields in lists[subset, "all"].values() for tag in fields[5:])
    kept = {tag for fields in lists["top50tags", "all"].values() for tag in fields[5:]}
    assert len(kept) == min(50, len(counts))
    assert min(counts[tag] for tag in kept) >= max((counts[tag] for tag in counts if tag not in kept), default=0)
    tags = folder / "mtg-jamendo-dataset" / "data" / "tags"
    assert (tags / "top50.txt").read_text().split("\n")[:-1] == sorted(kept)
    split_moods = {tag for fields in lists["moodtheme", "test"].values() for tag in fields[5:]}
    assert (tags / "moodtheme_split.txt").read_text().split() == sorted(split_moods)
