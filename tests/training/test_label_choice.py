import logging

import pytest

from ray_musicssl.config.feature import HiddenConfig, ResidualConfig
from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.run_dir import read_json, write_json
from ray_musicssl.training.label_choice import choose_labels
from ray_musicssl.training.run_identity import check_labels

FEATURES = [
    {"name": "mfcc", "num_coefficients": 13},
    {"name": "hidden", "encoder": "/old/place", "layer": 6, "encoder_hash": "1a2b"},
    {"name": "hidden", "encoder": "/next", "layer": 6, "encoder_hash": "3c4d"},
    {"name": "hidden", "encoder": "/next", "layer": 9, "encoder_hash": "3c4d"},
]
MFCC = {"feature": {"name": "mfcc", "num_coefficients": 13}, "frame_rate": 100.0}
CONFIG = load_config(PretrainConfig, overrides=["clustering.num_clusters=9", "feature.name=mfcc"])


@pytest.fixture(scope="module")
def shards(tmp_path_factory, make_shards):
    """With the labels of three iterations, of the last one from two layers."""
    sets = [{"feature": f, "frame_rate": 100.0 if f["name"] == "mfcc" else 50.0, "num_clusters": 7} for f in FEATURES]
    return make_shards(tmp_path_factory.mktemp("choice") / "shards", seconds=[1.0] * 4, label_sets=sets)


def run_of(**feature):
    return PretrainConfig(feature=HiddenConfig(**feature))


@pytest.mark.parametrize(
    ("feature", "number"),
    [
        ({"encoder": "/new/place", "encoder_hash": "1a2b"}, 1),
        ({"encoder_hash": "1a2b"}, 1),
        ({"encoder": "/old/place", "encoder_hash": "3c4d"}, 2),
        ({"encoder": "/old/place", "encoder_hash": "3c4d", "layer": 9}, 3),
    ],
)
def test_an_iteration_finds_the_labels_of_its_weights_and_layer_wherever_they_lay(shards, feature, number):
    config = run_of(**feature)
    chosen = choose_labels(config, shards)
    assert [label_set.codebook_hash for label_set in chosen] == [f"{number:016x}"]
    check_labels(config, chosen)


def test_labels_of_other_weights_are_refused_even_from_the_same_path(shards):
    config = run_of(encoder="/old/place", encoder_hash="9f9f")
    with pytest.raises(ConfigError, match=r"kmeans .*feature.name=hidden feature.encoder=/old/place feature.layer=6 "):
        choose_labels(config, shards)
    with pytest.raises(DataError, match=r"labels the feature .*1a2b.* but this run's feature is .*9f9f"):
        check_labels(config, choose_labels(run_of(encoder="/old/place", encoder_hash="1a2b"), shards))


@pytest.fixture
def two_sets(make_shards, tmp_path):
    """Shards with a set of 9 labels and one of 10, both of the same feature."""
    sets = [{**MFCC, "num_clusters": number} for number in (9, 10)]
    return make_shards(tmp_path / "shards", seconds=[1.0] * 4, label_sets=sets)


def make_stale(path):
    marker = path / "done-label.json"
    write_json(marker, {**read_json(marker), "shards": "before"})


def test_the_number_of_clusters_decides_between_sets_of_one_feature(two_sets):
    assert [chosen.num_clusters for chosen in choose_labels(CONFIG, two_sets)] == [9]


def test_a_set_of_other_shards_stops_a_run_only_if_it_is_named(two_sets, caplog):
    stale, own = sorted(two_sets.labels_dir.iterdir())
    make_stale(stale)
    with caplog.at_level(logging.WARNING):
        assert [chosen.path for chosen in choose_labels(CONFIG, two_sets)] == [own]
    assert caplog.text.count(str(stale)) == 1
    with pytest.raises(DataError, match="made from shards before"):
        choose_labels(CONFIG, two_sets, [stale, own])


def test_with_nothing_but_sets_of_other_shards_the_way_to_new_ones_is_told(two_sets):
    for path in two_sets.labels_dir.iterdir():
        make_stale(path)
    with pytest.raises(ConfigError, match="found: none; run `musicssl kmeans"):
        choose_labels(CONFIG, two_sets)


def test_labels_of_another_number_of_clusters_are_taken_with_a_warning(two_sets, caplog):
    config = load_config(PretrainConfig, overrides=["clustering.num_clusters=2000"])
    own = min(two_sets.labels_dir.iterdir())
    with caplog.at_level(logging.WARNING):
        assert [chosen.num_clusters for chosen in choose_labels(config, two_sets, [own])] == [9]
    assert "has 9 clusters, not the clustering.num_clusters=2000 of the run" in caplog.text
    assert choose_labels(CONFIG, two_sets, [own])
    assert len(caplog.messages) == 1


def test_labels_for_an_objective_without_any_are_taken_with_a_warning(two_sets, caplog):
    config = load_config(PretrainConfig, preset="music2vec-demo")
    assert choose_labels(config, two_sets, sorted(two_sets.labels_dir.iterdir())) == []
    assert "--labels has no effect: the objective music2vec uses none" in caplog.text


def test_labels_of_other_settings_or_at_another_rate_are_refused_naming_both(two_sets, make_shards, tmp_path):
    config = load_config(PretrainConfig, overrides=["feature.num_coefficients=20"])
    words = r"feature name='mfcc' num_coefficients=20; found: 9 clusters of name='mfcc' num_coefficients=13 at 100.0 Hz"
    with pytest.raises(ConfigError, match=words):
        choose_labels(config, two_sets)
    slow = make_shards(
        tmp_path / "slow", seconds=[1.0] * 4, label_sets=[{**MFCC, "frame_rate": 50.0, "num_clusters": 9}]
    )
    with pytest.raises(DataError, match=r"are at 50.0 Hz, but this run's feature mfcc gives 100.0 Hz"):
        choose_labels(CONFIG, slow)


def test_a_residual_s_labels_are_found_wherever_its_codebook_lay(make_shards, tmp_path):
    stages = [{"name": "residual", "codebook": "/old", "codebook_hash": made_of} for made_of in ("1a2b", "3c4d")]
    sets = [{"feature": f, "frame_rate": 100.0, "num_clusters": 9} for f in (MFCC["feature"], *stages)]
    shards = make_shards(tmp_path / "shards", seconds=[1.0] * 4, label_sets=sets)
    joint = (ResidualConfig(codebook="/new", codebook_hash="3c4d"), ResidualConfig(codebook_hash="1a2b"))
    config = CONFIG.model_copy(update={"joint_features": joint})
    chosen = choose_labels(config, shards)
    assert [label_set.codebook_hash for label_set in chosen] == [f"{number:016x}" for number in (0, 2, 1)]
    check_labels(config, chosen)


def test_labels_that_no_head_learns_are_refused(shards):
    mfcc, hidden = (shards.labels_dir / f"{number:016x}" for number in (0, 1))
    assert len(choose_labels(CONFIG, shards, [mfcc])) == 1
    with pytest.raises(ConfigError, match=r"no head of the run learns the labels .*0001 \(.*hidden.*add their feature"):
        choose_labels(CONFIG, shards, [mfcc, hidden])
