"""Reference models with random weights, in the forms that other projects write."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embedding_groups": 8,
}
# One a combination that occurs: class, and what differs from its defaults.
FLAVOURS = {
    "hubert": ("Hubert", {"num_conv_pos_embeddings": 32}),
    "hubert-odd-kernel": ("Hubert", {"num_conv_pos_embeddings": 15}),
    "hubert-layer-norm": ("Hubert", {"feat_extract_norm": "layer", "num_conv_pos_embeddings": 32}),
    "wav2vec2": ("Wav2Vec2", {"num_conv_pos_embeddings": 32}),
    "data2vec": ("Data2VecAudio", {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7}),
}


@pytest.fixture(scope="session")
def reference() -> Callable[[str], torch.nn.Module]:
    """A model of transformers by flavour, with random weights that differ from one tensor to the next."""
    import transformers

    def make(flavour: str) -> torch.nn.Module:
        name, changes = FLAVOURS[flavour]
        config = getattr(transformers, f"{name}Config")(**SIZES, **changes)
        with torch.random.fork_rng():
            torch.manual_seed(7)
            model = getattr(transformers, f"{name}Model")(config).eval()
            with torch.no_grad():
                for parameter in model.parameters():  # biases and norms too, so that none can be mistaken for another
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        return model

    return make


@pytest.fixture(scope="session")
def audio() -> torch.Tensor:
    """A second of noise, twice."""
    return torch.randn(2, 16_000, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def states() -> Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]:
    """All hidden states of a model of ours or of transformers."""

    def compute(model: torch.nn.Module, waveform: torch.Tensor) -> torch.Tensor:
        from ray_musicssl.models.encoder import MusicEncoder

        with torch.inference_mode():
            words = {} if isinstance(model, MusicEncoder) else {"output_hidden_states": True}
            return torch.stack(model.eval()(waveform, **words).hidden_states)

    return compute


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes the checkpoint of an untrained tiny run: `make_checkpoint("encoder.conv_norm=layer", labels=["hash"])`."""
    from ray_musicssl.config.loading import load_config
    from ray_musicssl.config.pretrain import PretrainConfig
    from ray_musicssl.objectives.building import build_model
    from ray_musicssl.run_dir import checkpoint_name
    from ray_musicssl.training.checkpoint import write_checkpoint

    tiny = [
        *(f"encoder.{word}" for word in ("dim=32", "num_layers=2", "num_heads=4", "ffn_dim=48", "conv_dim=16")),
        *("training.max_steps=50", "clustering.num_clusters=7", "audio.crop_s=1.25", "audio.batch_s=10"),
    ]

    def make(*overrides: str, preset: str = "musichubert-demo", labels: tuple[str, ...] = ()) -> Path:
        config = load_config(PretrainConfig, preset=preset, overrides=[*tiny, *overrides])
        model = build_model(config, [5] * len(config.label_configs))
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(3)
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        stepper = SimpleNamespace(model=model, loss_scale=None, optimizer=SimpleNamespace(state={}))
        directory = tmp_path_factory.mktemp("runs") / "my-run" / "checkpoints" / checkpoint_name(12)
        provenance = {"shards": "feedfeedfeedfeed", "labels": list(labels)}
        write_checkpoint(directory, stepper, step=12, config=config, provenance=provenance)
        return directory

    return make


@pytest.fixture(scope="session")
def old_names() -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """Gives a state the names that weight norm had before torch's parametrizations."""
    renamed = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}

    def rename(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for new, old in renamed.items():
            state = {name.replace(new, old): tensor.contiguous() for name, tensor in state.items()}
        return state

    return rename


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """Fails if two models' hidden states differ by more than 1e-5."""

    def compare(
        states: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor],
        encoder: torch.nn.Module,
        model: torch.nn.Module,
        audio: torch.Tensor,
    ) -> None:
        found, expected = states(encoder, audio), states(model, audio)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)

    return compare
