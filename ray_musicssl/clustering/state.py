"""The state of an unfinished fit on disk: one file, replaced after every update, round of seeding or round of batches."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors_numpy

from ray_musicssl.clustering.lloyd import LloydState
from ray_musicssl.clustering.minibatch import MinibatchState
from ray_musicssl.clustering.oversampling import SeedingState
from ray_musicssl.errors import DataError, ResumeRefusedError
from ray_musicssl.run_dir import write_bytes

FitState = SeedingState | MinibatchState | LloydState


@dataclass(frozen=True, kw_only=True)
class _Form:
    """A state as arrays and JSON-like facts."""

    phase: str
    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def save_state(path: Path, state: FitState, fingerprint: str) -> None:
    """Write a state as one safetensors file; what is no array is JSON in its header."""
    form = _form(state)
    header = {"fingerprint": fingerprint, "phase": form.phase, "facts": json.dumps(form.facts)}
    arrays = {name: np.ascontiguousarray(array) for name, array in form.arrays.items()}
    write_bytes(path, safetensors_numpy.save(arrays, metadata=header))


def load_state(path: Path, fingerprint: str) -> FitState | None:
    """The state that `save_state` wrote, or None if there is none.

    Raises:
        ResumeRefusedError: if it belongs to a fit with another fingerprint.
        DataError: if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            header, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = header["fingerprint"]
        state = None
        if found == fingerprint:
            state = _state(_Form(phase=header["phase"], arrays=arrays, facts=json.loads(header["facts"])))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error!r}); delete it and the fit begins again") from error
    if found != fingerprint:
        raise ResumeRefusedError(
            f"{path} is an unfinished fit with other settings or shards (fingerprint {found}, now {fingerprint}); "
            f"finish it with its own settings, delete it, or choose another --out"
        )
    return state


def _form(state: FitState) -> _Form:
    if isinstance(state, SeedingState):
        return _Form(phase="seeding", arrays={"candidates": state.candidates}, facts={"ends": state.ends})
    if isinstance(state, LloydState):
        return _Form(phase="lloyd", arrays={"centroids": state.centroids}, facts={"history": state.history})
    arrays = {"centroids": state.centroids, "counts": state.counts}
    facts = {name: value for name, value in vars(state).items() if name not in arrays}
    return _Form(phase="minibatch", arrays=arrays, facts=facts)


def _state(form: _Form) -> FitState:
    facts: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in form.facts.items()
    }
    kinds: dict[str, Callable[..., FitState]] = {
        "seeding": SeedingState,
        "lloyd": LloydState,
        "minibatch": MinibatchState,
    }
    return kinds[form.phase](**form.arrays, **facts)
