"""From a run's configuration to a model with fresh weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.models.feature_encoder import ConvLayer
from ray_musicssl.models.transformer import TransformerLayer
from ray_musicssl.objectives.base import OBJECTIVES, PretrainModel, RunFacts
from ray_musicssl.randomness import key

_COMPILED_FORMS = 1024


def build_encoder(config: PretrainConfig, *, seed: int | None = None) -> MusicEncoder:
    """A run's untrained encoder; equal seeds (by default the run's) give equal weights."""
    return fresh_encoder(config.encoder, seed=config.training.seed if seed is None else seed)


def fresh_encoder(config: EncoderConfig, *, seed: int) -> MusicEncoder:
    """An untrained encoder of this architecture; equal seeds give equal weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, "start weights") >> 1)
        return MusicEncoder(config)


def build_model(
    config: PretrainConfig, num_labels: Sequence[int], *, start: Mapping[str, Tensor] | None = None
) -> PretrainModel:
    """The run's encoder and its objective, as they are before the first step.

    Args:
        config: the run.
        num_labels: classes of each label set, for objectives that use labels.
        start: weights of the encoder; None: random ones.
    """
    encoder = build_encoder(config)
    if start is not None:
        encoder.load_state_dict(start)  # before the objective: a teacher begins as a copy
    objective_class = OBJECTIVES.load(config.objective.name)
    facts = RunFacts(num_labels=num_labels, max_steps=config.training.max_steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(config.training.seed, "start heads") >> 1)
        model = PretrainModel(encoder, objective_class(encoder, config.objective, facts))
    encoder.prepare_training(recompute_activations=config.training.activation_checkpointing)
    return model


def compile_layers(model: PretrainModel) -> None:
    """Compile every convolution and transformer layer in place, the teacher's too; names of parameters stay.

    All layers of a kind share one cache of compiled code, an entry for each shape of weights and batch: with room for too few,
    PyTorch would go on without compiling, and a resumed run would compute by other code than one that never stopped.
    """
    # Imported here: the compiler takes seconds to load, and few runs use it.
    import torch._dynamo  # noqa: PLC0415
    import torch._inductor.config  # noqa: PLC0415

    torch._dynamo.config.recompile_limit = _COMPILED_FORMS  # noqa: SLF001  (PyTorch documents no other way)
    torch._dynamo.config.accumulated_recompile_limit = 2 * _COMPILED_FORMS  # noqa: SLF001
    torch._inductor.config.fallback_random = True  # noqa: SLF001  (dropout draws what it draws uncompiled)
    for module in model.modules():
        if isinstance(module, ConvLayer | TransformerLayer):
            module.compile(dynamic=False)
