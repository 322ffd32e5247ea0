"""Encoders as folders that Hugging Face's own classes load.

Conventions:
    `model.safetensors` holds the encoder alone under transformers' names, float32; `config.json`, `preprocessor_config.json`
    and the model card stand beside it, `provenance.json` says what it was made from, `codebook/` what its labels meant.
    The folder appears whole or not at all; equal weights and settings give equal bytes.
"""

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ray_musicssl.clustering.codebook import Codebook, load_codebook
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.hub.card import about_import, about_run, model_card
from ray_musicssl.hub.hf_config import CONFIG_NAME, PREPROCESSOR_NAME, config_json, preprocessor_json
from ray_musicssl.hub.importer import OpenedEncoder, open_encoder, open_trained
from ray_musicssl.hub.names import huggingface_name, listed
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.run_dir import replacing, sha256_file, versions, write_json, write_text
from ray_musicssl.training.checkpoint import Checkpoint, find_checkpoint, run_name

WEIGHTS_NAME, CARD_NAME, PROVENANCE_NAME = "model.safetensors", "README.md", "provenance.json"
CODEBOOK_NAME = "codebook"
_OURS = frozenset({WEIGHTS_NAME, CONFIG_NAME, PREPROCESSOR_NAME, CARD_NAME, PROVENANCE_NAME, CODEBOOK_NAME})


@dataclass(frozen=True, kw_only=True)
class _Folder:
    """What goes into a folder."""

    model: MusicEncoder
    title: str
    about: list[str]
    provenance: dict[str, Any]
    codebooks: Sequence[Codebook] = ()


def export_huggingface(
    checkpoint: str | Path | Checkpoint, out_dir: str | Path, *, codebooks: Sequence[str | Path] = ()
) -> Path:
    """Write a trained encoder as a folder that `HubertModel` or `Data2VecAudioModel.from_pretrained` loads.

    Args:
        checkpoint: a run directory (its newest sound checkpoint), a checkpoint directory, or an opened checkpoint.
        out_dir: the folder; an earlier export there is replaced.
        codebooks: what `kmeans` wrote for this run's labels, to go along.

    Returns:
        `out_dir`.

    Raises:
        ConfigError: if no model of transformers computes what this encoder does, or `out_dir` holds other files.
        DataError: if there is no sound checkpoint, or a codebook is not one the run was trained with.
    """
    found = checkpoint if isinstance(checkpoint, Checkpoint) else find_checkpoint(Path(checkpoint))
    opened = open_trained(found)
    state = found.state
    books = [_trained_with(load_codebook(Path(directory)), directory, state) for directory in codebooks]
    source = {
        "run": opened.name,
        "step": found.step,
        "checkpoint_sha256": found.content_hash,
        "data": state["provenance"],
        "codebooks": [book.hash for book in books],
    }
    provenance = {
        "kind": "export",
        "source": source,
        "config": found.config.model_dump(mode="json"),
        "trained_with": state["versions"],
        "written_with": versions(),
    }
    return _write(
        _Folder(
            model=opened.model, title=run_name(found), about=about_run(found), provenance=provenance, codebooks=books
        ),
        Path(out_dir),
    )


def convert(path: str | Path, out_dir: str | Path, *, allow_legacy: bool = False) -> OpenedEncoder:
    """Write any encoder that can be imported as such a folder.

    Args:
        path: as for `import_encoder`.
        out_dir: as for `export_huggingface`.
        allow_legacy: as for `import_encoder`.

    Raises:
        ConfigError: if pickles are not allowed, no model of transformers computes the same, or `out_dir` holds other files.
        DataError: if it is no encoder of this kind.
    """
    opened = open_encoder(Path(path), allow_legacy=allow_legacy)
    source = {
        "form": opened.origin,
        "files": dict(opened.files),
        "assumed": list(opened.assumed),
        "dropped": list(opened.dropped),
    }
    provenance = {
        "kind": "import",
        "source": source,
        "config": {"encoder": opened.model.config.model_dump(mode="json")},
        "written_with": versions(),
    }
    folder = _Folder(model=opened.model, title=opened.name, about=about_import(opened), provenance=provenance)
    _write(folder, Path(out_dir))
    return opened


def _write(folder: _Folder, out_dir: Path) -> Path:
    config = folder.model.config
    theirs = config_json(config)  # refuses what transformers cannot be, before anything is written
    tensors = {huggingface_name(name): value.contiguous() for name, value in folder.model.state_dict().items()}
    with _replacing_folder(out_dir) as new_dir:
        with replacing(new_dir / WEIGHTS_NAME) as temporary:
            save_file(tensors, temporary, {"format": "pt"})  # without this word older versions refuse the file
        write_json(new_dir / CONFIG_NAME, theirs)
        write_json(new_dir / PREPROCESSOR_NAME, preprocessor_json(config))
        for book in folder.codebooks:
            many = len(folder.codebooks) > 1
            book.save(new_dir / CODEBOOK_NAME / book.hash if many else new_dir / CODEBOOK_NAME)
        provenance = folder.provenance | {"weights_sha256": sha256_file(new_dir / WEIGHTS_NAME)}
        write_json(new_dir / PROVENANCE_NAME, provenance)
        write_text(new_dir / CARD_NAME, model_card(config, folder.about, provenance, title=folder.title))
    return out_dir


@contextmanager
def _replacing_folder(out_dir: Path) -> Iterator[Path]:
    """Give a new folder beside `out_dir` that takes its place on success; only a folder of ours is ever replaced.

    Raises:
        ConfigError: if `out_dir` holds anything that an export does not write.
    """
    if out_dir.exists():
        present = {path.name for path in out_dir.iterdir()} if out_dir.is_dir() else {"a file of this name"}
        foreign = present if PROVENANCE_NAME not in present else present - _OURS
        if foreign:
            raise ConfigError(
                f"{out_dir} holds what no export wrote ({listed(foreign)}) and is not replaced; choose another --out"
            )
    out_dir = out_dir.absolute()
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    new_dir, old_dir = (out_dir.with_name(f".{out_dir.name}.{uuid.uuid4().hex[:8]}.{word}") for word in ("tmp", "old"))
    try:
        new_dir.mkdir()
        yield new_dir
        if out_dir.exists():
            out_dir.replace(old_dir)  # a folder with files in it cannot be renamed over
        new_dir.replace(out_dir)
        shutil.rmtree(old_dir, ignore_errors=True)
    finally:
        shutil.rmtree(new_dir, ignore_errors=True)


def _trained_with(codebook: Codebook, directory: str | Path, state: Mapping[str, Any]) -> Codebook:
    known = state["provenance"].get("labels") or []
    if codebook.hash not in known:
        raise DataError(
            f"the codebook at {directory} is {codebook.hash}, but the run was trained with {listed(known) or 'no labels'}; "
            f"give the codebook its labels were made with"
        )
    return codebook
