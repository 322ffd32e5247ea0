"""The folders and lists of VocalSet."""

from collections import Counter

import pytest

from ray_musicssl.demo.corpus import plan
from ray_musicssl.demo.layouts import write_annotations

TECHNIQUES = [
    "belt",
    "breathy",
    "inhaled",
    "lip_trill",
    "spoken",
    "straight",
    "trill",
    "trillo",
    "vibrato",
    "vocal_fry",
]
SINGERS = [*(f"female{n}" for n in range(1, 10)), *(f"male{n}" for n in range(1, 12))]
TEST = {"female2", "female8", "male3", "male5", "male10"}
VALID = {"female3", "female6", "female9", "male2", "male7", "male11"}


def folders(preset):
    """Singer, context, technique and name of every recording."""
    return [tuple(job.path.removeprefix("datasets/vocalset/VocalSet/FULL/").split("/")) for job in jobs(preset)]


def jobs(preset):
    return plan(preset, 0, ["vocalset"]).jobs


def test_folders_say_what_is_sung():
    names = [*(f"f{n}" for n in range(1, 10)), *(f"m{n}" for n in range(1, 12))]
    for job, (singer, context, technique, _) in zip(jobs("demo"), folders("demo"), strict=True):
        assert SINGERS.index(singer) == job.take.singer
        assert names[job.take.singer] == singer.replace("female", "f").replace("male", "m")
        assert (context, technique) == (job.take.context, job.take.technique)
        assert context in {"arpeggios", "scales", "long_tones", "excerpts"}


@pytest.mark.parametrize("preset", ["tiny", "demo", "small", "full"])
def test_every_singer_is_there_and_every_technique_in_each_split(preset):
    found = folders(preset)
    each = Counter(singer for singer, *_ in found)
    assert set(each) == set(SINGERS)
    assert len(set(each.values())) == 1
    assert min(each.values()) >= 3
    for part in (TEST, VALID, set(SINGERS) - TEST - VALID):
        assert {technique for singer, _, technique, _ in found if singer in part} == set(TECHNIQUES)


def test_names_say_singer_and_technique_but_for_a_few():
    names = [(singer, technique, name) for singer, _, technique, name in folders("full")]
    assert all(technique in name and name.endswith(".wav") for _, technique, name in names)
    odd = [
        name
        for singer, _, name in names
        if not name.startswith(singer.replace("female", "f").replace("male", "m") + "_")
    ]
    assert 3 <= len(odd) <= len(names) / 10
    assert all(not name.startswith(("f1", "f2", "m1")) for name in odd)


def test_both_lists_of_singers_have_one_a_line(tmp_path):
    write_annotations(plan("tiny", 0, ["vocalset"]), tmp_path)
    folder = tmp_path / "datasets/vocalset/VocalSet"
    lines = {split: (folder / f"{split}_singers_technique.txt").read_text().split("\n") for split in ("train", "test")}
    assert all(found.pop() == "" for found in lines.values())
    assert set(lines["test"]) == TEST
    assert sorted(lines["train"] + lines["test"]) == sorted(SINGERS)


def test_contexts_vowels_and_techniques_are_not_bound_to_each_other():
    takes = [job.take for job in jobs("full")]
    for technique in TECHNIQUES:
        of_it = [take for take in takes if take.technique == technique]
        assert len({take.context for take in of_it}) >= 2
        assert len({take.vowel for take in of_it}) >= 3
