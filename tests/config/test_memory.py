"""Memory by arithmetic against what autograd really keeps."""

import math

import pytest
import torch

from ray_musicssl.config import memory
from ray_musicssl.config.cost import Cost
from ray_musicssl.config.loading import load_config
from ray_musicssl.config.memory import memory_of
from ray_musicssl.config.pretrain import PretrainConfig

PRESETS = ("musichubert-k2000-mfcc39", "music2vec-vanilla")


@pytest.mark.parametrize("preset", PRESETS)
def test_weights_gradients_and_averages_are_four_bytes_a_parameter_each(preset):
    config = load_config(PretrainConfig, preset=preset)
    parameters, bytes_of = Cost(config).parameters, memory_of(config)
    assert bytes_of.weights == bytes_of.gradients == bytes_of.optimizer / 2 == 4 * parameters.trained
    assert bytes_of.teacher == 4 * parameters.teacher
    assert bytes_of.ordered_sum == 0
    ordered = load_config(PretrainConfig, preset=preset, overrides=["training.reduce=ordered"])
    assert memory_of(ordered).ordered_sum == bytes_of.weights
    assert bytes_of.total == math.fsum(vars(bytes_of).values())


@pytest.mark.parametrize("preset", PRESETS)
def test_the_papers_models_fit_an_a100_of_40_gb_with_room(preset):
    assert memory_of(load_config(PretrainConfig, preset=preset)).total < 25e9


def kept_bytes(config):
    """What a forward pass of the encoder over one crop leaves for its backward pass, parameters apart."""
    from ray_musicssl.objectives.building import build_encoder

    encoder = build_encoder(config).train()
    own = {parameter.untyped_storage().data_ptr() for parameter in encoder.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # holding it keeps its address from being used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = encoder(torch.randn(1, config.audio.crop_samples))
    assert output.hidden_states
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("extra", [(), ("encoder.dim=64", "encoder.num_layers=4", "encoder.ffn_dim=64")])
def test_the_estimate_is_near_what_autograd_keeps_in_fp32(preset, extra):
    # Dropout of attention scores would take the CPU off its fused kernel, which the estimate is about; other dropouts keep
    # float masks there. Without any, the estimate's two bytes a value for masks are all that is too much.
    still = ["encoder.dropout=0", "encoder.attention_dropout=0", "encoder.input_dropout=0", "audio.crop_s=2"]
    more = ["objective.top_k=4"] if extra and preset.startswith("music2vec") else []
    config = load_config(PretrainConfig, preset=preset, scale="demo", overrides=[*still, *extra, *more])
    assert memory._kept_bytes(config) == pytest.approx(kept_bytes(config), rel=0.06)


def test_activations_grow_with_the_micro_batch_and_with_nothing_else_of_the_batch():
    def activations(*overrides):
        return memory_of(load_config(PretrainConfig, preset=PRESETS[1], scale="demo", overrides=overrides)).activations

    assert activations("audio.micro_batch_s=12", "audio.batch_s=24") == 2 * activations()
    assert activations("audio.batch_s=24") == activations()
