import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_musicssl.audio.shard import MANIFEST_SCHEMA, Shards, part_name
from ray_musicssl.clustering.codebook import Codebook, FitRecord
from ray_musicssl.clustering.label_set import open_labels
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import MfccConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.run_dir import mark_done, read_json, sha256_file, write_json


@pytest.fixture
def shards(tmp_path):
    rows = [{"clip_id": "a", "track_id": "a", "offset_s": 0.0, "num_samples": 1, "part": 0, "row_group": 0, "row": 0}]
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), tmp_path / "manifest.parquet")
    return Shards(tmp_path, content_hash="these", num_clips=1, seconds=1.0)


def finish(shards, name, made_from="these", *, with_part=True):
    directory = shards.labels_dir / name
    directory.mkdir(parents=True)
    if with_part:
        (directory / part_name(0)).touch()
    facts = {
        "shards": made_from,
        "codebook_hash": name,
        "num_clusters": 100,
        "frame_rate": 100.0,
        "entropy_nats": 4.5,
        "feature": {"name": "mfcc", "num_coefficients": 13},
    }
    mark_done(directory, "label", fingerprint="x", facts=facts)
    return directory


def test_the_only_set_is_opened_without_being_named(shards):
    directory = finish(shards, "abc")
    (shards.labels_dir / "unfinished").mkdir()
    labels = open_labels(shards, None)
    assert (labels.path, labels.codebook_hash, labels.num_clusters) == (directory, "abc", 100)
    assert (labels.frame_rate, labels.entropy_nats, labels.feature) == (100.0, 4.5, MfccConfig())
    assert labels.part_path(0) == directory / "part-00000.parquet"


def test_of_several_sets_one_must_be_named(shards):
    finish(shards, "abc")
    second = finish(shards, "def")
    with pytest.raises(ConfigError, match=r"2 sets.*`--labels`.*abc \(mfcc, k=100\).*def"):
        open_labels(shards)
    assert open_labels(shards, second).codebook_hash == "def"


def test_a_set_of_other_shards_is_passed_over_aloud_unless_it_is_named(shards, caplog):
    stale, own = finish(shards, "abc", made_from="those"), finish(shards, "def")
    assert open_labels(shards).path == own
    assert f"{stale} was made from other shards" in caplog.text
    assert "delete it" in caplog.text
    with pytest.raises(DataError, match="made from shards those"):
        open_labels(shards, stale)


def test_no_set_says_which_command_makes_one(shards):
    with pytest.raises(DataError, match="run `musicssl label --shards"):
        open_labels(shards)


def test_an_unfinished_set_is_refused(shards):
    (shards.labels_dir / "abc").mkdir(parents=True)
    with pytest.raises(DataError, match="no finished labels"):
        open_labels(shards, shards.labels_dir / "abc")


def test_labels_of_other_shards_are_refused(shards):
    with pytest.raises(DataError, match=r"made from shards those, but .* holds shards these"):
        open_labels(shards, finish(shards, "abc", made_from="those"))


def test_a_lost_part_is_named(shards):
    with pytest.raises(DataError, match=r"lack part-00000\.parquet"):
        open_labels(shards, finish(shards, "abc", with_part=False))


@pytest.fixture
def with_codebook(shards):
    """A finished set with the codebook that made it."""
    record = FitRecord(parent="x", clustering=ClusteringConfig(), num_frames=1, inertia=(), usage=())
    book = Codebook(np.eye(100, 39, dtype=np.float32), MfccConfig(), 100.0, record)
    directory = finish(shards, book.hash)
    book.save(directory)
    return directory, book


def test_labels_beside_their_own_codebook_are_opened(shards, with_codebook):
    assert open_labels(shards).codebook_hash == with_codebook[1].hash


def test_an_exchanged_codebook_is_refused_naming_both(shards, with_codebook):
    directory, book = with_codebook
    other = Codebook(book.centroids + 1, book.feature, book.frame_rate, book.fit)
    other.save(directory)
    words = f"made with the codebook {book.hash}, but the one that lies there is {other.hash}; put the right"
    with pytest.raises(DataError, match=words):
        open_labels(shards)
    (directory / "codebook.json").unlink()
    (directory / "centroids.safetensors").unlink()
    assert open_labels(shards).codebook_hash == book.hash  # training needs none


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame_rate": 50.0}, r"say they are 100 clusters of .* at 50.0 Hz, but their codebook .* at 100.0 Hz"),
        ({"num_clusters": 99}, r"say they are 99 clusters of .*, but their codebook is 100 clusters of"),
        ({"feature": {"name": "semitone"}}, r"of name='semitone' .*, but their codebook is .* of name='mfcc'"),
    ],
)
def test_a_set_that_says_other_than_its_codebook_is_refused(shards, with_codebook, change, words):
    marker = with_codebook[0] / "done-label.json"
    write_json(marker, {**read_json(marker), **change})
    with pytest.raises(DataError, match=words):
        open_labels(shards)


def test_a_part_that_was_exchanged_is_refused_with_both_hashes(shards):
    directory = finish(shards, "abc")
    part = directory / part_name(0)
    write_json(part.with_suffix(".json"), {"codebook_hash": "abc", "sha256": sha256_file(part)})
    assert open_labels(shards).codebook_hash == "abc"
    part.write_bytes(b"labels of another codebook")
    with pytest.raises(DataError, match=r"part-00000\.parquet \(SHA-256 .*\) is not the part .* tells of SHA-256"):
        open_labels(shards)
    write_json(part.with_suffix(".json"), {"codebook_hash": "def", "sha256": sha256_file(part)})  # moved with its JSON
    with pytest.raises(DataError, match="codebook def, the labels are of codebook abc; delete both files"):
        open_labels(shards)
