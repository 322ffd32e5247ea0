"""Tags of tracks."""

from pathlib import Path

from ray_musicssl.tasks.base import Example, TaskData
from ray_musicssl.tasks.tags import most_frequent, multi_hot, with_unscored_tags


def test_the_most_frequent_come_first_and_names_decide_between_equals():
    counts = {"b": 2, "a": 2, "c": 5, "d": 1}
    assert most_frequent(counts, 3) == ["c", "a", "b"]


def test_a_target_has_a_place_for_every_class_and_none_for_other_tags():
    assert multi_hot({"b", "z"}, ["a", "b", "c"]) == [0, 1, 0]


def data_with(test_targets):
    targets = {"valid": [[1, 1, 1], [0, 0, 0]], "test": test_targets}
    examples = [
        Example(id=f"{split}{k}-{window}", track=f"{split}{k}", path=Path("x"), split=split, target=target)
        for split in ("valid", "test")
        for k, target in enumerate(targets[split])
        for window in range(k + 1)  # the windows of a track count once
    ]
    expected = {"train": 0, "valid": 2, "test": 2}
    return TaskData(examples=examples, skipped=[], expected=expected, classes="abc", notes=["a note"])


def test_tags_that_no_track_or_each_one_has_are_noted():
    assert with_unscored_tags(data_with([[1, 0, 0], [0, 1, 1]])).notes == ["a note"]
    assert with_unscored_tags(data_with([[1, 1, 0], [0, 1, 0]])).notes == [
        "a note",
        "2 of 3 tags have no positive or no negative in test and are left out of its scores: b, c",
    ]
