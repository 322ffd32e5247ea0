"""Encoders from wherever weights come: Hugging Face folders, fairseq and torchaudio files, our own runs.

Conventions:
    safetensors are read as they are; pickles only if the caller allows it (see `legacy`).
    Every tensor is known by its whole name and checked for its shape; nothing is left at random except, where the file has
    none, the mask vector, which only training uses.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.errors import DataError
from ray_musicssl.hub.hf_config import CONFIG_NAME, read_settings
from ray_musicssl.hub.legacy import load_legacy, plain
from ray_musicssl.hub.names import HUGGINGFACE, MASK_VECTOR, detect_layout, listed, rename
from ray_musicssl.hub.shapes import config_from_shapes
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.run_dir import hash_of, sha256_file
from ray_musicssl.training.checkpoint import Checkpoint, find_checkpoint, run_name

logger = logging.getLogger(__name__)

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_MASK_SEED = 0
_ENCODER_PREFIX = "encoder."


@dataclass(frozen=True, kw_only=True)
class OpenedEncoder:
    """An encoder, and where it came from."""

    model: MusicEncoder
    name: str  # what reports call it
    content_hash: str  # of all that its output depends on
    origin: str  # `checkpoint`, `huggingface`, `fairseq` or `torchaudio`
    files: Mapping[str, str]  # SHA-256 of each file of weights, by name
    seed: int = 0  # of a run; 0 where that is not known
    first_seed: int | None = None  # of the weights that a run began with; None: they were given to it, or it is no run
    dropped: tuple[str, ...] = ()  # tensors that an encoder does not need
    assumed: tuple[str, ...] = ()  # settings that the file does not say


def import_encoder(path: str | Path, *, allow_legacy: bool = False) -> MusicEncoder:
    """Load the encoder of a Hugging Face folder, a fairseq or torchaudio file, or one of our runs or checkpoints.

    Args:
        path: the folder or file.
        allow_legacy: read pickled weights too, through a list of allowed names.

    Raises:
        ConfigError: if the weights are pickled and `allow_legacy` is false, or the sizes do not fit together.
        DataError: if something is missing, unknown, damaged, or not an encoder of this kind; the message lists what.
    """
    return open_encoder(Path(path), allow_legacy=allow_legacy).model


def open_encoder(path: Path, *, allow_legacy: bool = False) -> OpenedEncoder:
    """As `import_encoder`, with what is known of the encoder.

    Raises:
        ConfigError: as `import_encoder`.
        DataError: as `import_encoder`.
    """
    if path.is_file():
        return _open_file(path, allow_legacy=allow_legacy)
    if (path / CONFIG_NAME).exists():
        return _open_folder(path, allow_legacy=allow_legacy)
    return open_trained(find_checkpoint(path))


def open_trained(checkpoint: Checkpoint) -> OpenedEncoder:
    """The encoder of one of our checkpoints.

    Raises:
        DataError: if its tensors are not those of its configuration.
    """
    found = checkpoint.model_tensors()
    tensors = {name.removeprefix(_ENCODER_PREFIX): found[name] for name in found if name.startswith(_ENCODER_PREFIX)}
    config = checkpoint.config
    return OpenedEncoder(
        model=_assemble(config.encoder, tensors, str(checkpoint.path)),
        name=run_name(checkpoint),
        content_hash=checkpoint.content_hash[:16],
        origin="checkpoint",
        files={"model.safetensors": checkpoint.content_hash},
        seed=config.training.seed,
        first_seed=None if config.init_from else config.training.seed,
    )


def _open_folder(folder: Path, *, allow_legacy: bool) -> OpenedEncoder:
    settings = read_settings(folder)
    paths = _weight_files(folder)
    found: dict[str, Any] = {}
    for path in paths:
        found |= _state_dict(_read(path, allow_legacy=allow_legacy), path)
    renaming = rename(found, HUGGINGFACE, str(folder))
    tensors = {ours: found[theirs] for ours, theirs in renaming.kept.items()}
    if not settings.has_mask_vector:
        _add_mask_vector(tensors, settings.encoder.dim)
    files = {path.name: sha256_file(path) for path in paths}
    return OpenedEncoder(
        model=_assemble(settings.encoder, tensors, str(folder)),
        name=folder.resolve().name,
        content_hash=_content_hash(files, settings.encoder),
        origin="huggingface",
        files=files,
        dropped=renaming.dropped,
    )


def _open_file(path: Path, *, allow_legacy: bool) -> OpenedEncoder:
    held = _read(path, allow_legacy=allow_legacy)
    found, settings = _state_dict(held, path), _settings(held)
    layout = detect_layout(found, str(path))
    if layout is HUGGINGFACE:
        raise DataError(f"{path} has Hugging Face's names; give the folder that holds it and {CONFIG_NAME}")
    renaming = rename(found, layout, str(path))
    tensors = {ours: found[theirs] for ours, theirs in renaming.kept.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    sized = config_from_shapes(shapes, settings, str(path))
    for sentence in sized.assumed:
        logger.warning("%s does not say its settings; assumed: %s", path, sentence)
    if layout.name == "torchaudio":
        _add_mask_vector(tensors, sized.encoder.dim)
    files = {path.name: sha256_file(path)}
    return OpenedEncoder(
        model=_assemble(sized.encoder, tensors, str(path)),
        name=path.stem,
        content_hash=_content_hash(files, sized.encoder),
        origin=layout.name,
        files=files,
        dropped=renaming.dropped,
        assumed=sized.assumed,
    )


def _weight_files(folder: Path) -> list[Path]:
    """The files of a folder's weights, the safe format first; an index names the parts of weights in several files."""
    for name in _WEIGHTS:
        if (folder / name).exists():
            return [folder / name]
        index_path = folder / f"{name}.index.json"
        if index_path.exists():
            try:
                names = sorted(set(json.loads(index_path.read_text())["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{index_path} is damaged: {error!r}") from error
            missing = [part for part in names if Path(part).name != part or not (folder / part).is_file()]
            if missing:
                raise DataError(f"{index_path} names files that are not in {folder}: {listed(missing)}")
            return [folder / part for part in names]
    raise DataError(
        f"{folder} has {CONFIG_NAME} but no weights; {' or '.join(_WEIGHTS)} (or their index.json) is needed"
    )


def _read(path: Path, *, allow_legacy: bool) -> Any:
    """What a file holds, whatever its form."""
    if path.suffix != ".safetensors":
        return load_legacy(path, allow_legacy=allow_legacy)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read as safetensors: {error}") from error


def _state_dict(held: Any, path: Path) -> dict[str, Any]:
    """The tensors by name: the file itself, or what it holds as `model` (fairseq) or `state_dict` (Lightning)."""
    for key in ("model", "state_dict"):
        if isinstance(held, dict) and isinstance(held.get(key), dict):
            held = held[key]
    if not isinstance(held, dict) or not held or not all(isinstance(name, str) for name in held):
        raise DataError(f"{path} holds no dictionary of tensors by name")
    return held


def _settings(held: Any) -> dict[str, Any]:
    """Fairseq's settings laid flat: its older `args`, or the model and task sections of `cfg`."""
    if not isinstance(held, dict):
        return {}
    flat: dict[str, Any] = {}
    for key in ("args", "cfg"):
        values = plain(held.get(key))
        if isinstance(values, dict):
            sections = [values.get(section) for section in ("task", "model")] if key == "cfg" else [values]
            for section in sections:
                flat |= section if isinstance(section, dict) else {}
    return flat


def _add_mask_vector(tensors: dict[str, Any], dim: int) -> None:
    if MASK_VECTOR not in tensors:
        logger.warning("the weights have no mask vector; a fresh one is taken, which only training uses")
        tensors[MASK_VECTOR] = torch.rand(dim, generator=torch.Generator().manual_seed(_MASK_SEED))


def _assemble(config: EncoderConfig, tensors: Mapping[str, Any], origin: str) -> MusicEncoder:
    """An encoder with these weights, in float32.

    Raises:
        DataError: listing the tensors that are missing, are too many or have another shape.
    """
    with torch.device("meta"):
        model = MusicEncoder(config)
    expected = model.state_dict()
    faults = [
        ("missing", [name for name in expected if name not in tensors]),
        ("unknown", [name for name in tensors if name not in expected]),
        ("of another shape", [_mismatch(name, tensors[name], expected[name]) for name in expected if name in tensors]),
    ]
    said = [f"{what}: {listed(filter(None, names))}" for what, names in faults if any(names)]
    if said:
        raise DataError(f"{origin} does not hold the weights of the encoder its settings describe; {'; '.join(said)}")
    weights = {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in tensors.items()}
    model.load_state_dict(weights, assign=True)
    return model


def _mismatch(name: str, found: Any, expected: Tensor) -> str:
    if not isinstance(found, Tensor) or not found.is_floating_point():
        return f"{name} (no floating-point tensor)"
    if found.shape != expected.shape:
        return f"{name} {list(found.shape)} instead of {list(expected.shape)}"
    return ""


def _content_hash(files: Mapping[str, str], config: EncoderConfig) -> str:
    # The settings count too: the same weights with other heads, or other normalisation, are another encoder.
    return hash_of({"files": sorted(files.values()), "encoder": config.model_dump(mode="json")})
