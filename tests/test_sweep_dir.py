"""Records of trials on disk, and what differs between trials."""

import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.sweep_dir import SweepDir, TrialRecord, differing, write_record

RECORD = TrialRecord(
    name="a",
    variant="a",
    preset="music2vec-demo",
    scale="",
    overrides=("optim.peak_lr=0.1",),
    settings={"optim.peak_lr": 0.1},
    identity="1",
    judged_by="2",
    max_steps=3,
    scores={"gtzan_genre": {"accuracy": 0.5}},
)


def test_a_record_reads_back_as_it_was_written(tmp_path):
    sweep = SweepDir(tmp_path)
    assert sweep.record("a") is None
    write_record(sweep.record_path("a"), RECORD)
    assert sweep.record("a") == RECORD


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "a"}'])
def test_a_damaged_record_is_named(tmp_path, text):
    path = SweepDir(tmp_path).record_path("a")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DataError, match=r"trial\.json is not a trial's record"):
        SweepDir(tmp_path).record("a")


def test_only_keys_with_several_values_differ():
    rows = {"a": {"x": 1, "y": 2, "z": 0}, "b": {"x": 1, "y": 3}}
    assert differing(rows, ["y", "x", "z", "y"]) == {"a": {"y": 2}, "b": {"y": 3}}
