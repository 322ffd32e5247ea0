import pytest

from ray_musicssl.config.feature import HiddenConfig
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.training.label_choice import choose_labels
from ray_musicssl.training.run_identity import check_labels

FEATURES = [
    {"name": "mfcc", "num_coefficients": 13},
    {"name": "hidden", "encoder": "/old/place", "layer": 6, "encoder_hash": "1a2b"},
    {"name": "hidden", "encoder": "/next", "layer": 6, "encoder_hash": "3c4d"},
    {"name": "hidden", "encoder": "/next", "layer": 9, "encoder_hash": "3c4d"},
]


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
