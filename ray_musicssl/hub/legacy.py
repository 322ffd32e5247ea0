"""Pickled weights of other projects, read without running anything they hold.

Conventions:
    A pickle names the functions and classes it wants called. Those on our list rebuild tensors; the classes of configurations
    become inert stand-ins that keep what they are given; any other name stops the reading before it begins.
    The reading itself is PyTorch's `weights_only` loader, which knows no names but its own and the stand-ins: it checks again.
"""

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.hub.names import listed

_STORAGES = ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool")
_DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
_TENSOR_GLOBALS = frozenset(
    {
        *("collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"),
        *("torch._utils._rebuild_parameter", "torch.nn.parameter.Parameter", "torch.Size", "torch.device"),
        *("torch.storage.UntypedStorage", "torch.storage.TypedStorage", "_codecs.encode"),
        *(f"torch.{name}Storage" for name in _STORAGES),
        *(f"torch.{name}" for name in _DTYPES),
    }
)
# Settings, dictionaries and counters that fairseq and omegaconf pickle beside the weights.
_INERT_GLOBALS = frozenset(
    {
        *("argparse.Namespace", "collections.defaultdict", "typing.Any", "typing.Union"),
        *("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
        *(f"builtins.{name}" for name in ("dict", "list", "tuple", "str", "int", "float", "bool", "object")),
    }
)
_PYTHON_2_NAMES = {"long": "int", "unicode": "str", "xrange": "range"}  # in which torch.save's protocol 2 is written
_INERT_PREFIXES = ("fairseq.", "omegaconf.")
_OLD_FORMAT_PICKLES = 5  # magic number, version, system, object, storage keys; then raw storages
_DEEPEST = 32
_MOST_PICKLE_BYTES = 1 << 28  # of structure, without tensors; the largest known file has about a megabyte


class StandIn:
    """An object of a class that is not loaded: keeps what it is given and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        values = state if isinstance(state, dict) else {"state": state}
        self.__dict__.update({str(name): value for name, value in values.items()})


def load_legacy(path: Path, *, allow_legacy: bool) -> Any:
    """Read a `.bin`, `.pt` or `.pth` file that `torch.save` wrote, in the zip format or the one before it.

    Args:
        path: the file.
        allow_legacy: that the caller knows it is a pickle.

    Returns:
        Tensors and plain containers; objects of other classes as `StandIn`.

    Raises:
        ConfigError: if `allow_legacy` is false.
        DataError: naming what the file wants called and is not on the list, or saying why it cannot be read.
    """
    if not allow_legacy:
        raise ConfigError(
            f"{path} is a pickle, a format in which a file can ask for any code to be run; it is not read unless you say so: "
            f"`musicssl import SRC --out DIR --allow-legacy` (Python: allow_legacy=True) reads it through a list of "
            f"allowed names, runs nothing, and writes safetensors"
        )
    try:
        wanted = set(_globals_of(path))
    except Exception as error:
        raise DataError(f"{path} cannot be read as a file of torch.save: {error!r}") from error
    refused = {name for name in wanted if not (name in _TENSOR_GLOBALS or _is_inert(name))}
    if refused:
        raise DataError(
            f"{path} is refused: it asks for {listed(refused)}, which no file of weights needs; nothing was run. "
            f"Take the weights from another source, or re-save their state dict alone"
        )
    stand_ins: list[Any] = [(_stand_in(name), name) for name in sorted(wanted) if _is_inert(name)]
    try:
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[-1] if str(error) else repr(error)
        raise DataError(f"{path} cannot be read safely: {reason}") from error


def plain(value: Any, *, depth: int = 0) -> Any:
    """A configuration without its stand-ins: nested dicts, lists and values.

    Raises:
        DataError: if it is nested deeper than any configuration, or holds itself.
    """
    if depth > _DEEPEST:
        raise DataError(f"the settings in the file are nested more than {_DEEPEST} deep; re-save its state dict alone")
    if isinstance(value, StandIn):
        return _plain_stand_in(vars(value), depth)
    if isinstance(value, dict):
        return {str(name): plain(item, depth=depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth=depth + 1) for item in value]
    return value


def _plain_stand_in(held: dict[str, Any], depth: int) -> Any:
    for name in ("_content", "_val"):  # of omegaconf's containers, and of its leaves
        if name in held:
            return plain(held[name], depth=depth + 1)
    settings = {name: plain(item, depth=depth + 1) for name, item in held.items() if name != "arguments"}
    arguments = held.get("arguments")
    return settings or (plain(arguments[0], depth=depth + 1) if arguments else {})  # an enum holds its value


def _is_inert(name: str) -> bool:
    return name in _INERT_GLOBALS or name.startswith(_INERT_PREFIXES)


def _stand_in(name: str) -> Any:
    # The loader fills entries only into true dicts.
    return _empty_dict if name == "collections.defaultdict" else StandIn


def _empty_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _globals_of(path: Path) -> Iterator[str]:
    """Every global that the pickles in a file name; nothing is loaded."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            records = [record for record in archive.infolist() if record.filename.endswith("data.pkl")]
            if len(records) != 1:
                raise ValueError(f"it holds {len(records)} records data.pkl instead of one")
            if records[0].file_size > _MOST_PICKLE_BYTES:
                raise ValueError(
                    f"its data.pkl has {records[0].file_size} bytes; at most {_MOST_PICKLE_BYTES} are read"
                )
            yield from _globals_in(archive.read(records[0]))
    else:
        with path.open("rb") as file:
            for _ in range(_OLD_FORMAT_PICKLES):
                yield from _globals_in(file)


def _globals_in(pickle: bytes | BinaryIO) -> Iterator[str]:
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in {"GLOBAL", "INST"}:
            module, _, name = str(argument).partition(" ")
            if module == "__builtin__":
                module, name = "builtins", _PYTHON_2_NAMES.get(name, name)
            yield f"{module}.{name}"
        elif opcode.name == "STACK_GLOBAL":
            raise ValueError("it uses a pickle protocol that torch.save does not write")
