"""One field of the configuration set to one value, and where that was said.

Conventions:
    Keys are config paths, `section.field`; the words are those of `load_config`, so a trial can be typed by hand.
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from ray_musicssl.config.loading import parse_overrides
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError
from ray_musicssl.registry import nearest
from ray_musicssl.search_space.document import Document, Keys

_NOT_SET = ("preset", "scale", "schema_version")  # a trial's names, not its settings


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A key, its value, and the place of the value."""

    key: str
    value: Any
    place: Keys = ()  # in the file; empty: a word of the command

    @property
    def word(self) -> str:
        """`key=value`, as the command line has it."""
        return f"{self.key}={_as_yaml(self.value)}"


def _as_yaml(value: Any) -> str:
    """The text that `parse_overrides` reads as the value; strings bare where that is enough."""
    try:
        if isinstance(value, str) and parse_overrides([f"key={value}"]) == {"key": value}:
            return value
    except ConfigError:  # not YAML without quotes
        pass
    return json.dumps(value)


@cache
def known_keys() -> tuple[str, ...]:
    """Every config path that a trial may set, in the order of the sections."""
    return tuple(dict.fromkeys(key for key in _keys_of(PretrainConfig) if key not in _NOT_SET))


def _keys_of(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        models = [member for member in members if isinstance(member, type) and issubclass(member, BaseModel)]
        keys += [key for inner in models for key in _keys_of(inner, f"{prefix}{name}.")] or [prefix + name]
    return keys


def read_setting(document: Document, key: str, value: Any, place: Keys) -> Setting:
    """Check that a key is a config path and a value is plain.

    Raises:
        ConfigError: with file and line, if not; a path's nearest valid name with it.
    """
    check_key(document, key, place)
    if isinstance(value, dict):
        raise document.error(f'"{key}" has the mapping {value} for a value; write each field as its own path', *place)
    return Setting(key=key, value=plain(document, value, place), place=place)


def check_key(document: Document, key: str, place: Keys) -> None:
    """Check that a key is a config path.

    Raises:
        ConfigError: with file and line and the nearest one, if not.
    """
    known = list(known_keys())
    if key in known:
        return
    inside = [name for name in known if name.startswith(f"{key}.")]
    hint = f"; it is a section: set {', '.join(inside)}" if inside else nearest(key, known)
    raise document.error(f'unknown config path "{key}"{hint}', *place)


def plain(document: Document, value: Any, place: Keys) -> Any:
    """The value, if it is of text, numbers, truth values and lists alone; `1e-3`, text to YAML, as the number that is meant.

    Raises:
        ConfigError: with file and line, for anything else that YAML knows (dates, bytes, sets), NaN and infinity.
    """
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise document.error(
            f"{value!r} is neither text, a finite number, true, false nor a list of such; quote it if it is text",
            *place,
        ) from error
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return value
    return number if math.isfinite(number) else value
