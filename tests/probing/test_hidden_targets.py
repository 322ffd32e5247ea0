"""From the path that a config names to weights, and to frames of those weights alone."""

import shutil

import numpy as np
import pytest
import torch

from ray_musicssl.clustering.codebook import Codebook, FitRecord
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import HiddenConfig, MfccConfig, ResidualConfig
from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import KmeansConfig, PretrainConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.probing.embed import load_encoder
from ray_musicssl.probing.hidden_targets import load_feature, resolve


def hidden(encoder, **settings):
    return HiddenConfig(encoder=str(encoder), layer=2, **settings)


def resolved(encoder):
    return resolve(KmeansConfig(feature=hidden(encoder))).feature


def test_resolving_fills_in_the_weights_and_an_absolute_path(whole_run_dir, monkeypatch):
    monkeypatch.chdir(whole_run_dir.parent)
    feature = resolved(whole_run_dir.name)
    assert feature == hidden(whole_run_dir.resolve(), encoder_hash=load_encoder(whole_run_dir).content_hash)


def test_every_target_of_a_run_is_resolved_and_only_if_it_uses_labels(whole_run_dir):
    joint = {"joint_features": [{"name": "semitone"}, hidden(whole_run_dir).model_dump()]}
    config = resolve(PretrainConfig.model_validate(joint))
    assert (config.feature, config.joint_features[0].name) == (MfccConfig(), "semitone")
    assert config.joint_features[1] == resolved(whole_run_dir)
    music2vec = load_config(PretrainConfig, preset="music2vec-demo", overrides=["feature.name=hidden"])
    assert resolve(music2vec) is music2vec


def test_weights_that_are_named_by_hash_are_taken_at_their_word():
    config = KmeansConfig(feature=HiddenConfig(encoder_hash="1a2b"))
    assert resolve(config) == config


def test_the_feature_gives_the_encoder_s_states(whole_run_dir):
    waveform = torch.randn(16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    frames = load_feature(resolved(whole_run_dir))(waveform)
    expected = load_encoder(whole_run_dir).embed(waveform.numpy(), 16_000, layers=2)[0]
    assert torch.equal(frames, torch.from_numpy(expected))


def test_the_same_weights_elsewhere_are_the_same_feature(whole_run_dir, tmp_path, tiny):
    copy = shutil.copytree(whole_run_dir / f"checkpoints/step-{tiny.num_steps:08d}", tmp_path / "moved")
    here, there = resolved(whole_run_dir), resolved(copy)
    assert here.encoder != there.encoder
    assert here.identity == there.identity
    load_feature(here.model_copy(update={"encoder": str(copy)}))


def test_an_encoder_that_went_on_training_is_refused(whole_run_dir):
    feature = resolved(whole_run_dir / "checkpoints/step-00000005")
    with pytest.raises(
        DataError, match=rf"but the feature hidden is of the weights {feature.encoder_hash}; a run that"
    ):
        load_feature(feature.model_copy(update={"encoder": str(whole_run_dir)}))
    with pytest.raises(DataError, match=r"of the weights \(not resolved\)"):
        load_feature(hidden(whole_run_dir))


@pytest.mark.parametrize("use", [lambda feature: resolve(KmeansConfig(feature=feature)), load_feature])
def test_a_section_without_an_encoder_says_what_to_give(use):
    with pytest.raises(ConfigError, match=r"feature.encoder is not set.*give feature.encoder=RUN, a run directory"):
        use(HiddenConfig())


def test_an_encoder_that_is_not_there_is_named_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match=r"no encoder at .*gone, .*feature.encoder=RUN \(`label`: --encoder RUN\)"):
        resolved(tmp_path / "gone")
    with pytest.raises(DataError, match="holds no sound checkpoint"):
        resolved(tmp_path)


def test_a_layer_that_the_encoder_lacks_is_refused(whole_run_dir):
    with pytest.raises(ConfigError, match=r"layer=6 does not exist; this encoder has layers 0..2"):
        resolve(KmeansConfig(feature=HiddenConfig(encoder=str(whole_run_dir))))


@pytest.fixture
def codebook(whole_run_dir, tmp_path):
    """Of a hidden layer; it lies in `books/a`."""
    centroids = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    record = FitRecord(
        parent="x", clustering=ClusteringConfig(num_clusters=3), num_frames=3, inertia=(), usage=(1, 1, 1)
    )
    book = Codebook(centroids, resolved(whole_run_dir), 50.0, record)
    book.save(tmp_path / "books/a")
    return book


def test_a_residual_is_resolved_to_its_codebook_and_made_of_the_same_states(
    codebook, whole_run_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    feature = resolve(KmeansConfig(feature=ResidualConfig(codebook="books/a"))).feature
    assert feature == ResidualConfig(codebook=str(tmp_path / "books/a"), codebook_hash=codebook.hash)
    waveform = torch.randn(8000, generator=torch.Generator().manual_seed(0)) * 0.1
    states = load_feature(resolved(whole_run_dir))(waveform)
    nearest = torch.cdist(states.double(), torch.from_numpy(codebook.centroids).double()).argmin(dim=1)
    assert torch.equal(load_feature(feature)(waveform), states - torch.from_numpy(codebook.centroids)[nearest])


def test_a_residual_that_names_no_codebook_waits_only_where_one_follows():
    config = PretrainConfig(joint_features=(ResidualConfig(),))
    assert resolve(config, codebooks_follow=True) == config
    config.check_encoders(codebooks_follow=True)
    for refuse in (lambda: resolve(config), config.check_encoders):
        with pytest.raises(ConfigError, match=r"feature\.codebook is not set"):
            refuse()
    first = PretrainConfig(feature=ResidualConfig())  # there is no target before it
    for refuse in (lambda: resolve(first, codebooks_follow=True), lambda: first.check_encoders(codebooks_follow=True)):
        with pytest.raises(ConfigError, match=r"feature\.codebook is not set"):
            refuse()


def test_a_residual_of_a_codebook_that_is_not_there_is_refused_unless_it_is_known_by_hash(tmp_path):
    gone = KmeansConfig(feature=ResidualConfig(codebook=str(tmp_path / "gone")))
    for refuse in (lambda: resolve(gone), gone.check_encoders):
        with pytest.raises(DataError, match=r"no codebook at .*gone, .*feature.codebook=CODEBOOK"):
            refuse()
    known = KmeansConfig(feature=ResidualConfig(codebook=str(tmp_path / "gone"), codebook_hash="1a2b"))
    assert resolve(known) == known
