import pytest
import torch

from ray_musicssl.config.feature import HiddenConfig, MfccConfig, ResidualConfig, SemitoneConfig
from ray_musicssl.on_ray import targets

HIDDEN = HiddenConfig(encoder="/here", encoder_hash="1a2b")


@pytest.fixture
def devices(monkeypatch):
    """The devices that features are loaded for, instead of loading them."""
    asked = []
    monkeypatch.setattr(targets, "load_feature", lambda config, device="cpu": asked.append(device) or config)
    monkeypatch.setattr(targets, "_made", {})
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)  # put back at the end
    return asked


@pytest.mark.parametrize(("gpus", "config", "asked"), [(8, HIDDEN, 1), (0, HIDDEN, 0), (8, MfccConfig(), 0)])
def test_a_task_asks_for_a_gpu_only_for_an_encoder_and_where_there_is_one(monkeypatch, gpus, config, asked):
    monkeypatch.setattr(targets.ray, "cluster_resources", lambda: {"CPU": 2.0} | ({"GPU": float(gpus)} if gpus else {}))
    assert targets.gpus_per_task(config) == asked
    monkeypatch.setattr(targets, "leaf_of", lambda residual: config)
    assert targets.gpus_per_task(ResidualConfig(codebook="/of/it", codebook_hash="1a2b")) == asked


@pytest.mark.parametrize(("gpu_ids", "device"), [([3], "cuda"), ([], "cpu")])
def test_a_feature_runs_on_the_gpu_that_its_task_was_given(devices, monkeypatch, gpu_ids, device):
    monkeypatch.setattr(targets.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(targets.ray, "get_gpu_ids", lambda: gpu_ids)
    targets.feature_here(HIDDEN)
    assert devices == [device]
    assert torch.backends.cudnn.allow_tf32 is (device == "cpu")


def test_a_process_keeps_one_feature_and_makes_it_once(devices):
    made = [targets.feature_here(config) for config in (HIDDEN, HIDDEN, SemitoneConfig(), HIDDEN)]
    assert made == [HIDDEN, HIDDEN, SemitoneConfig(), HIDDEN]
    assert len(devices) == 3


def test_features_asked_for_together_are_kept_together_and_others_go(devices):
    targets.feature_here(MfccConfig())
    for _ in range(2):
        assert targets.features_here([HIDDEN, SemitoneConfig(), HIDDEN]) == [HIDDEN, SemitoneConfig(), HIDDEN]
    assert len(devices) == 3
    assert len(targets._made) == 2


def test_a_feature_without_an_encoder_is_made_and_labelled_on_the_cpu_whatever_its_task_was_given(devices, monkeypatch):
    """Else the labels of one codebook would depend on which others are made in the same task."""
    monkeypatch.setattr(targets.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(targets.ray, "get_gpu_ids", lambda: [3])
    targets.features_here([MfccConfig(), HIDDEN])
    assert devices == ["cpu", "cuda"]
    assert [targets.device_here(config) for config in (MfccConfig(), HIDDEN)] == devices
    monkeypatch.setattr(targets.ray, "get_gpu_ids", list)
    assert targets.device_here(HIDDEN) == "cpu"
