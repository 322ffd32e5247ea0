import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ray_musicssl.clustering.codebook import Codebook, FitRecord, entropy_nats, load_codebook
from ray_musicssl.clustering.lloyd import LloydState
from ray_musicssl.clustering.state import load_state, save_state
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import HiddenConfig, MfccConfig, SemitoneConfig
from ray_musicssl.errors import DataError, ResumeRefusedError
from ray_musicssl.run_dir import read_json, write_json


def codebook(seed=0, feature=None, frame_rate=100.0):
    record = FitRecord(
        parent="shards-hash",
        clustering=ClusteringConfig(num_clusters=4, num_iterations=2, seed=5),
        num_frames=100,
        inertia=(9.5, 8.25, 8.0),
        usage=(50, 25, 25, 0),
    )
    centroids = np.random.default_rng(seed).normal(size=(4, 39)).astype(np.float32)
    return Codebook(centroids, feature or MfccConfig(), frame_rate, record)


def test_what_is_saved_is_loaded(tmp_path):
    saved = codebook(feature=SemitoneConfig(num_semitones=39), frame_rate=50.0)
    saved.save(tmp_path)
    loaded = load_codebook(tmp_path)
    np.testing.assert_array_equal(loaded.centroids, saved.centroids)
    assert (loaded.feature, loaded.frame_rate, loaded.fit, loaded.hash) == (saved.feature, 50.0, saved.fit, saved.hash)


def test_the_files_say_what_outsiders_look_for(tmp_path):
    saved = codebook()
    saved.save(tmp_path)
    facts = read_json(tmp_path / "codebook.json")
    assert load_file(tmp_path / "centroids.safetensors")["centroids"].shape == (4, 39)
    assert facts["feature"] == {"name": "mfcc", "num_coefficients": 13}
    assert (facts["num_clusters"], facts["dim"], facts["frame_rate"], facts["num_frames"]) == (4, 39, 100.0, 100)
    assert (facts["inertia"], facts["usage"], facts["dead_clusters"]) == ([9.5, 8.25, 8.0], [50, 25, 25, 0], 1)
    assert facts["entropy_nats"] == pytest.approx(1.5 * math.log(2))
    assert (facts["seed"], facts["parent"], facts["hash"]) == (5, "shards-hash", saved.hash)
    assert facts["clustering"]["num_iterations"] == 2


def test_the_hash_covers_what_labels_depend_on_and_nothing_else():
    one = codebook()
    nudged = one.centroids.copy()
    nudged[0, 0] = np.nextafter(nudged[0, 0], np.float32(9))
    others = [
        replace(one, centroids=nudged),
        replace(one, feature=MfccConfig(num_coefficients=12)),
        replace(one, frame_rate=50.0),
        replace(one, centroids=one.centroids.reshape(39, 4)),
    ]
    assert len({one.hash, *(other.hash for other in others)}) == 5
    assert replace(one, fit=replace(one.fit, parent="elsewhere")).hash == one.hash


def test_the_hash_covers_an_encoder_s_weights_and_not_its_path(tmp_path):
    one = codebook(feature=HiddenConfig(encoder="/here", encoder_hash="1a2b"), frame_rate=50.0)
    moved = replace(one, feature=HiddenConfig(encoder="/there", encoder_hash="1a2b"))
    others = [
        HiddenConfig(encoder="/here", encoder_hash="3c4d"),
        HiddenConfig(encoder="/here", encoder_hash="1a2b", layer=5),
    ]
    assert moved.hash == one.hash
    assert len({one.hash, *(replace(one, feature=feature).hash for feature in others)}) == 3
    moved.save(tmp_path)
    assert load_codebook(tmp_path).feature.encoder == "/there"


def test_centroids_of_another_codebook_are_refused(tmp_path):
    one, other = codebook(0), codebook(1)
    one.save(tmp_path / "one")
    other.save(tmp_path / "other")
    (tmp_path / "other/centroids.safetensors").replace(tmp_path / "one/centroids.safetensors")
    with pytest.raises(DataError, match=f"says hash {one.hash}.*it is {other.hash}"):
        load_codebook(tmp_path / "one")


def test_a_typed_over_frame_rate_is_refused(tmp_path):
    codebook().save(tmp_path)
    facts = read_json(tmp_path / "codebook.json")
    write_json(tmp_path / "codebook.json", facts | {"frame_rate": 50.0})
    with pytest.raises(DataError, match="does not fit together"):
        load_codebook(tmp_path)


def test_a_wrong_shape_is_refused(tmp_path):
    codebook().save(tmp_path)
    facts = read_json(tmp_path / "codebook.json")
    write_json(tmp_path / "codebook.json", facts | {"num_clusters": 5})
    with pytest.raises(DataError, match=r"says shape \(5, 39\).*it is \(4, 39\)"):
        load_codebook(tmp_path)


@pytest.mark.parametrize("name", ["codebook.json", "centroids.safetensors"])
def test_a_missing_or_damaged_file_is_named(tmp_path, name):
    codebook().save(tmp_path)
    (tmp_path / name).write_bytes(b"{not a file of ours")
    with pytest.raises(DataError, match="damaged"):
        load_codebook(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing; run `musicssl kmeans"):
        load_codebook(tmp_path)


def test_a_file_without_centroids_is_refused(tmp_path):
    codebook().save(tmp_path)
    save_file({"weights": np.ones((4, 39), np.float32)}, tmp_path / "centroids.safetensors")
    with pytest.raises(DataError, match="damaged"):
        load_codebook(tmp_path)


@pytest.mark.parametrize(
    ("counts", "expected"), [([], 0), ([0, 0], 0), ([5], 0), ([3, 3, 3], math.log(3)), ([1, 3], 0.5623351446)]
)
def test_entropy_of_counts(counts, expected):
    assert entropy_nats(counts) == pytest.approx(expected)


def test_a_saved_state_comes_back_to_the_bit(tmp_path):
    state = LloydState(centroids=codebook().centroids, history=(0.1 + 0.2, 1 / 3))
    save_state(tmp_path / "state", state, "print")
    loaded = load_state(tmp_path / "state", "print")
    assert loaded is not None
    assert loaded.centroids.tobytes() == state.centroids.tobytes()
    assert (loaded.history, loaded.num_updates) == (state.history, 2)


def test_no_state_is_none_and_another_fit_s_is_refused(tmp_path):
    assert load_state(tmp_path / "state", "print") is None
    save_state(tmp_path / "state", LloydState(centroids=codebook().centroids), "print")
    with pytest.raises(ResumeRefusedError, match="fingerprint print, now other"):
        load_state(tmp_path / "state", "other")
    (tmp_path / "state").write_bytes(b"half a file")
    with pytest.raises(DataError, match="damaged"):
        load_state(tmp_path / "state", "print")
