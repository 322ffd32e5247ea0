"""Where a run's encoder begins: at random, or with the weights of another encoder.

Conventions:
    The weights are copied into the run directory before the first step, so that a resume needs nothing but the run.
"""

from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.hub.importer import open_encoder
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.run_dir import RunDir, replacing

# What weights depend on; dropouts and the gradient's factor are the run's own.
_SHAPING = (
    *("num_layers", "dim", "num_heads", "ffn_dim", "conv_dim", "conv_norm"),
    *("normalize_waveform", "pos_conv_depth", "pos_conv_kernel", "pos_conv_groups"),
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Weights to begin with."""

    source: str
    content_hash: str
    model: MusicEncoder | None  # None: they lie in the run directory already

    def keep(self, run_dir: RunDir) -> None:
        """Copy the weights into the run directory."""
        if self.model is None:
            return
        tensors = {name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        with replacing(run_dir.start_path) as temporary:
            save_file(tensors, temporary, metadata={"source": self.source, "content_hash": self.content_hash})


def choose_start(config: PretrainConfig, run_dir: RunDir, *, fresh: bool = False) -> Start | None:
    """The weights that `config.init_from` names, or None if the run begins at random.

    Args:
        config: the run.
        run_dir: where weights that were kept before lie.
        fresh: do not look at these: open the source again.

    Raises:
        ConfigError: if they are of another shape than the run's encoder; the message names each difference.
        DataError: if there is no sound encoder.
    """
    source = config.init_from
    if not source:
        return None
    kept = None if fresh else _kept_hash(run_dir.start_path, source)
    if kept:
        return Start(source=source, content_hash=kept, model=None)
    opened = open_encoder(Path(source))
    _check_shape(opened.model.config, config.encoder, source)
    return Start(source=source, content_hash=opened.content_hash, model=opened.model)


def load_start(run_dir: RunDir) -> dict[str, Tensor] | None:
    """The weights that were kept for this run, if any."""
    return load_file(run_dir.start_path) if run_dir.start_path.exists() else None


def _kept_hash(path: Path, source: str) -> str | None:
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    return metadata["content_hash"] if metadata["source"] == source else None


def _check_shape(found: EncoderConfig, wanted: EncoderConfig, source: str) -> None:
    differences = [name for name in _SHAPING if getattr(found, name) != getattr(wanted, name)]
    if differences:
        said = ", ".join(f"encoder.{n}={getattr(found, n)} (this run: {getattr(wanted, n)})" for n in differences)
        raise ConfigError(
            f"init_from: the encoder at {source} has {said}; set these as it has them, or choose other weights"
        )
