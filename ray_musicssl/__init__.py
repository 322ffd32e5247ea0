"""Pre-train, compare and ship self-supervised music encoders on a Ray cluster.

Importing this package costs nothing: torch and ray are loaded by the parts that need them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ray_musicssl.probing.embed import Encoder

__version__ = "0.1.0"
__all__ = ["__version__", "load_encoder"]


def load_encoder(path: "str | Path") -> "Encoder":
    """Load a pre-trained encoder, ready to embed audio of any rate and length.

    Args:
        path: a run directory (its newest sound checkpoint is taken), a checkpoint directory or a Hugging Face folder.

    Raises:
        ConfigError: if the weights are pickled; `musicssl import --allow-legacy` makes a folder that can be loaded.
        DataError: if there is no encoder at `path`, or it does not verify.
    """
    from ray_musicssl.probing.embed import load_encoder as load  # noqa: PLC0415  (torch loads here, not at import)

    return load(path)
