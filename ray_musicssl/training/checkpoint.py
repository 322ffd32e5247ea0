"""Checkpoints: a directory of safetensors and JSON that proves itself.

Conventions:
    `model.safetensors` holds encoder, heads and teacher, `optimizer.safetensors` AdamW's moments by parameter
    name, `config.yaml` the run, `state.json` where it stood. `manifest.json` is written last and lists size and SHA-256 of
    every other file: a directory that does not match it is not a checkpoint. There is no pickle.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ray_musicssl.config.loading import read_config, save_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import DataError
from ray_musicssl.objectives.base import PretrainModel
from ray_musicssl.run_dir import RunDir, read_json, sha256_file, versions, write_json
from ray_musicssl.training.loss_scale import LossScale
from ray_musicssl.training.step import Stepper

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_MODEL, _OPTIMIZER, _STATE, _CONFIG = "model.safetensors", "optimizer.safetensors", "state.json", "config.yaml"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint directory."""

    path: Path

    @property
    def state(self) -> dict[str, Any]:
        """`step` (optimiser steps taken), `loss_scale`, `provenance` and `versions`."""
        return read_json(self.path / _STATE)

    @property
    def step(self) -> int:
        """Optimiser steps taken."""
        return self.state["step"]

    @property
    def config(self) -> PretrainConfig:
        """The run it belongs to."""
        return read_config(PretrainConfig, self.path / _CONFIG)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the model file."""
        return read_json(self.path / MANIFEST)[_MODEL]["sha256"]

    def model_tensors(self) -> dict[str, Tensor]:
        """All trained tensors and the teacher's, by name."""
        return load_file(self.path / _MODEL)


def write_checkpoint(
    directory: Path, stepper: Stepper, *, step: int, config: PretrainConfig, provenance: Mapping[str, Any]
) -> None:
    """Write a whole checkpoint into an empty directory.

    Args:
        directory: where; it is made.
        stepper: the weights and optimiser after `step` steps.
        step: optimiser steps taken.
        config: the run.
        provenance: hashes of what it was trained on.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in stepper.model.state_dict().items()}
    save_file(tensors, directory / _MODEL)
    save_file(_optimizer_tensors(stepper), directory / _OPTIMIZER)
    save_config(config, directory / _CONFIG)
    state = {
        "step": step,
        "loss_scale": asdict(stepper.loss_scale) if stepper.loss_scale else None,
        "provenance": dict(provenance),
        "versions": versions(),
    }
    write_json(directory / _STATE, state)
    files = sorted(path for path in directory.iterdir() if path.is_file() and path.name != MANIFEST)
    manifest = {path.name: {"size": path.stat().st_size, "sha256": sha256_file(path)} for path in files}
    write_json(directory / MANIFEST, manifest)


def restore(checkpoint: Checkpoint, stepper: Stepper) -> None:
    """Put weights and optimiser back as they were.

    Raises:
        DataError: if the checkpoint's tensors do not fit the run's model.
    """
    load_model(checkpoint, stepper.model)
    if stepper.loss_scale and checkpoint.state["loss_scale"]:
        stepper.loss_scale = LossScale(**checkpoint.state["loss_scale"])
    moments = load_file(checkpoint.path / _OPTIMIZER)
    steps = moments.pop("step")
    for name, parameter in _trained(stepper.model):
        if f"exp_avg.{name}" in moments:
            stepper.optimizer.state[parameter] = {
                "step": steps.to(parameter.device, copy=True),  # the fused kernel wants it beside the parameter
                **{moment: moments[f"{moment}.{name}"].to(parameter.device) for moment in _MOMENTS},
            }


def load_model(checkpoint: Checkpoint, model: PretrainModel) -> None:
    """Put the weights back.

    Raises:
        DataError: if the checkpoint's tensors do not fit.
    """
    try:
        model.load_state_dict(checkpoint.model_tensors())
    except (RuntimeError, SafetensorError) as error:
        raise DataError(f"{checkpoint.path} does not fit this run's model: {error}") from error


def open_checkpoint(directory: Path) -> Checkpoint:
    """Verify a checkpoint, byte for byte.

    Raises:
        DataError: naming the first file that is missing or differs from the manifest.
    """
    manifest_path = directory / MANIFEST
    if not manifest_path.exists():
        raise DataError(f"{directory} is no whole checkpoint: {MANIFEST} is missing")
    for name, expected in read_json(manifest_path).items():
        path = directory / name
        if not path.exists():
            raise DataError(f"{directory} is no whole checkpoint: {name} is missing")
        if path.stat().st_size != expected["size"] or sha256_file(path) != expected["sha256"]:
            raise DataError(f"{path} is damaged: it differs from the size and SHA-256 in {MANIFEST}")
    return Checkpoint(directory)


def newest_checkpoint(checkpoints_dir: Path) -> Checkpoint | None:
    """The newest checkpoint that verifies, or None; damaged ones are passed over with a warning."""
    for directory in sorted(checkpoints_dir.glob("step-*"), reverse=True):
        try:
            return open_checkpoint(directory)
        except (DataError, ValueError) as error:
            logger.warning("passing over a checkpoint: %s", error)
    return None


def find_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint that a path means: itself, or the newest sound one of a run.

    Raises:
        DataError: if there is none.
    """
    if (path / MANIFEST).exists():
        return open_checkpoint(path)
    checkpoint = newest_checkpoint(RunDir(path).checkpoints_dir)
    if checkpoint is None:
        raise DataError(
            f"{path} holds no sound checkpoint; give a run directory or a checkpoint directory, "
            f"or a Hugging Face folder with config.json"
        )
    return checkpoint


def run_name(checkpoint: Checkpoint) -> str:
    """What reports call a checkpoint's encoder: the name of its run's directory; outside a run, that of its own."""
    path = checkpoint.path.resolve()
    run_dir = RunDir(path.parent.parent)
    return run_dir.path.name if path.parent == run_dir.checkpoints_dir else path.name


def _trained(model: PretrainModel) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _optimizer_tensors(stepper: Stepper) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {"step": torch.zeros(())}
    for name, parameter in _trained(stepper.model):
        state = stepper.optimizer.state.get(parameter)
        if state:
            tensors["step"] = state["step"].detach().cpu().float()
            tensors |= {f"{moment}.{name}": state[moment].detach().contiguous() for moment in _MOMENTS}
    return tensors
