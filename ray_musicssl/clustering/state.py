"""The state of an unfinished fit on disk: one file, replaced after every update."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors_numpy

from ray_musicssl.clustering.lloyd import LloydState
from ray_musicssl.errors import DataError, ResumeRefusedError
from ray_musicssl.run_dir import write_bytes


def save_state(path: Path, state: LloydState, fingerprint: str) -> None:
    """Write centroids and history as one safetensors file; the history is JSON in its header."""
    header = {"fingerprint": fingerprint, "history": json.dumps(state.history)}
    write_bytes(path, safetensors_numpy.save({"centroids": np.ascontiguousarray(state.centroids)}, metadata=header))


def load_state(path: Path, fingerprint: str) -> LloydState | None:
    """The state that `save_state` wrote, or None if there is none.

    Raises:
        ResumeRefusedError: if it belongs to a fit with another fingerprint.
        DataError: if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            header, centroids = file.metadata(), file.get_tensor("centroids")
        found, history = header["fingerprint"], tuple(json.loads(header["history"]))
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{path} is damaged ({error!r}); delete it and the fit begins again") from error
    if found != fingerprint:
        raise ResumeRefusedError(
            f"{path} is an unfinished fit with other settings or shards (fingerprint {found}, now {fingerprint}); "
            f"finish it with its own settings, delete it, or choose another --out"
        )
    return LloydState(centroids=centroids, history=history)
