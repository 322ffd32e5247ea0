import json

import pytest

from ray_musicssl.errors import DataError
from ray_musicssl.reporting.label_facts import read_label_sets

from .conftest import write_json, write_labels


def test_sets_without_truth_or_runs_are_read(tmp_path):
    write_json(tmp_path / "b" / "done-label.json", {"codebook_hash": "x", "frame_rate": 50.0})
    write_labels(tmp_path / "a", "mfcc")
    (tmp_path / "unfinished").mkdir()
    full, bare = read_label_sets(tmp_path)
    assert (full.codebook_hash, full.num_songs, sum(full.usage)) == ("mfcc", 120, 300_000)
    assert [kind.kind for kind in full.truth] == ["note", "key", "genre"]
    assert (bare.usage, bare.runs, bare.truth, bare.num_songs) == ((), (), (), 0)


def test_gain_is_what_is_above_both_chances(tmp_path):
    write_labels(tmp_path / "a", "mfcc")
    (labels,) = read_label_sets(tmp_path)
    assert [round(kind.gain, 6) for kind in labels.truth] == [0.5, 0.0, 0.35]
    assert labels.truth[2].other_song is None


def test_measures_of_earlier_labels_are_left_out(tmp_path):
    write_labels(tmp_path / "a", "mfcc")
    path = tmp_path / "a" / "quality.json"
    write_json(path, json.loads(path.read_text()) | {"codebook_hash": "another"})
    (labels,) = read_label_sets(tmp_path)
    assert labels.truth == ()


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("done-label.json", {"frame_rate": None}, "run `musicssl label` again"),
        ("quality.json", {"truth": [{"kind": "note"}]}, "run `musicssl judge`"),
    ],
)
def test_a_damaged_file_is_named_with_its_remedy(tmp_path, name, damage, words):
    write_labels(tmp_path / "a", "mfcc")
    path = tmp_path / "a" / name
    write_json(path, json.loads(path.read_text()) | damage)
    with pytest.raises(DataError, match=words) as raised:
        list(read_label_sets(tmp_path))
    assert str(path) in str(raised.value)
