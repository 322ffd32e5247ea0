"""Presets, overrides, and messages that say what to type instead.

Conventions:
    A preset is YAML: `extends: NAME` at most once in a chain's step, then only what differs.
    Preset, then scale, then overrides: the later wins.
    An override is `section.key=value`; the value is YAML, so `[1, 2]`, `true` and `1e-3` mean what they look like.
    Choosing another plug-in (`feature.name=semitone`) drops the settings of the one it replaces.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.config.scale import load_scale
from ray_musicssl.config.section import Section
from ray_musicssl.errors import ConfigError
from ray_musicssl.registry import nearest
from ray_musicssl.run_dir import write_text

_PRESETS = files("ray_musicssl.presets")
_QUOTED = r"'([^']*)'"
_NAMES = {"preset", "scale"}  # recorded in a configuration; as overrides they would change nothing
ConfigT = TypeVar("ConfigT", bound=Section)


def preset_names() -> list[str]:
    """The presets that ship with the package, sorted."""
    return sorted(p.name.removesuffix(".yaml") for p in _PRESETS.iterdir() if p.name.endswith(".yaml"))


def preset_delta(name: str) -> dict[str, Any]:
    """What a preset's own file says, before it is laid over its base.

    Raises:
        ConfigError: if there is no such preset.
    """
    if name not in preset_names():
        raise ConfigError(f'unknown preset "{name}"{nearest(name, preset_names())}; known: {", ".join(preset_names())}')
    return yaml.safe_load((_PRESETS / f"{name}.yaml").read_text())


def preset_base(name: str) -> str:
    """The preset that `name` extends; empty for one that stands on the defaults."""
    return preset_delta(name).get("extends", "")


def describe_presets() -> list[dict[str, str]]:
    """Name and one sentence of every preset."""
    return [{"name": name, "about": preset_delta(name).get("about", "")} for name in preset_names()]


def differences(before: Section, after: Section) -> dict[str, tuple[Any, Any]]:
    """The fields in which two configurations differ, as `section.key`, with both values; None where one has no such field."""
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return {
        field: (old.get(field), new.get(field))
        for field in dict.fromkeys([*old, *new])
        if old.get(field) != new.get(field) and field not in _NAMES
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def preset_values(name: str) -> dict[str, Any]:
    """A preset's values with those of its bases under them."""
    delta = preset_delta(name)
    base = delta.pop("extends", None)
    delta.pop("about", None)
    return merge(preset_values(base), delta) if base else delta


def merge(base: Mapping[str, Any], delta: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `delta` over `base`; a section that names another plug-in replaces the base's section whole."""
    merged = dict(base)
    for key, value in delta.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            same_plugin = "name" not in value or value["name"] == old.get("name", value["name"])
            merged[key] = merge(old, value) if same_plugin else dict(value)
        else:
            merged[key] = value
    return merged


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Turn `a.b=1 a.c=x` into `{"a": {"b": 1, "c": "x"}}`.

    Raises:
        ConfigError: if a word has no `=`, its value is not YAML, or it takes for a value what another takes for a section
            (`a=1 a.b=2`). Of two words for one key the later counts.
    """
    values: dict[str, Any] = {}
    for word in overrides:
        path, equals, text = word.partition("=")
        if not equals or not path:
            raise ConfigError(f'"{word}" is not an override; write section.key=value, for example optim.peak_lr=5e-4')
        try:
            value = _number_or(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise ConfigError(f'the value in "{word}" is not YAML: {error}') from error
        for part in reversed(path.split(".")):
            value = {part: value}
        if _contradict(values, value):
            raise ConfigError(
                f'"{word}" and an earlier word contradict each other: one sets a section, one a key in it'
            )
        values = merge(values, value)
    return values


def _contradict(earlier: Any, later: Any) -> bool:
    """Whether one has a plain value where the other has a section."""
    if not (isinstance(earlier, Mapping) and isinstance(later, Mapping)):
        return isinstance(earlier, Mapping) != isinstance(later, Mapping)
    return any(_contradict(earlier[key], later[key]) for key in earlier.keys() & later.keys())


def _number_or(value: Any) -> Any:
    # YAML 1.1 reads 5e-4 as a string because it has no dot; a person means the number.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def build(config_type: type[ConfigT], values: Mapping[str, Any], *, origin: str) -> ConfigT:
    """Check values against a section.

    Args:
        config_type: the pydantic model.
        values: nested plain values.
        origin: where the values came from, for the message.

    Raises:
        ConfigError: naming each wrong field, its value, what is allowed and the nearest valid name.
    """
    try:
        return config_type.model_validate(values)
    except ValidationError as error:
        lines = [_explain(config_type, problem) for problem in error.errors()]
        raise ConfigError(f"{origin}: " + "; ".join(lines)) from error


def load_config(
    config_type: type[ConfigT], *, preset: str = "", scale: str = "", overrides: Iterable[str] = ()
) -> ConfigT:
    """Build a configuration from a preset, a scale and overrides, laid over each other in this order.

    Both hold a whole run; for a smaller `config_type` (`KmeansConfig`) only the sections it knows are taken.

    Raises:
        ConfigError: if the preset, the scale or an override is wrong.
    """
    values: dict[str, Any] = config_type().model_dump(mode="json")
    wanted = {**preset_values(preset), "preset": preset} if preset else {}
    wanted |= {"scale": scale} if scale else {}
    values = merge(values, {key: value for key, value in wanted.items() if key in config_type.model_fields})
    if scale:
        values = load_scale(scale).apply(values)
    changes = parse_overrides(overrides)
    for name in _NAMES & changes.keys():
        raise ConfigError(
            f'"{name}={changes[name]}" would only change a name; give the command `--{name} {changes[name]}`, or the preset '
            f"as its first word"
        )
    values = merge(values, changes)
    return build(config_type, values, origin=f"preset {preset}" if preset else "configuration")


def save_config(config: Section, path: Path) -> None:
    """Write a configuration as YAML that `read_config` gives back unchanged."""
    write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def read_config(config_type: type[ConfigT], path: Path) -> ConfigT:
    """Read a configuration that `save_config` wrote.

    Raises:
        ConfigError: if the file is missing or does not fit `config_type`.
    """
    if not path.exists():
        raise ConfigError(f"no configuration at {path}; is it a run directory?")
    return build(config_type, yaml.safe_load(path.read_text()), origin=str(path))


def read_run_config(run_dir: Path) -> PretrainConfig:
    """The configuration of a run directory."""
    return read_config(PretrainConfig, run_dir / "config.yaml")


def _explain(config_type: type[BaseModel], problem: Mapping[str, Any]) -> str:
    location = [str(part) for part in problem["loc"]]
    typed, plugin = _as_typed(config_type, location)
    field = ".".join(typed)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(config_type, location[:-1])
        return f'unknown key "{field}"{plugin}{nearest(location[-1], known)}; known there: {", ".join(known)}'
    if problem["type"] == "union_tag_invalid":
        tag, known = problem["ctx"]["tag"], problem["ctx"]["expected_tags"]
        return f"{field}.name = {tag!r}{nearest(tag, re.findall(_QUOTED, known))} must be one of {known}"
    if problem["type"] == "literal_error":
        value, known = problem["input"], problem["ctx"]["expected"]
        return f"{field} = {value!r}{nearest(str(value), re.findall(_QUOTED, known))} must be {known}"
    message = problem["msg"].removeprefix("Value error, ")
    return message if problem["type"] == "value_error" else f"{field} = {problem['input']!r}: {message}"


def _as_typed(config_type: type[BaseModel], location: list[str]) -> tuple[list[str], str]:
    """A location as a person types it, and ` of SECTION.name=KIND` for the kind that pydantic puts between its parts."""
    models: list[type[BaseModel]] = [config_type]
    typed: list[str] = []
    plugin = ""
    for part in location:
        tagged = [m for m in models if _tag(m) == part]
        if len(models) > 1 and tagged:
            models, plugin = tagged, f" of {'.'.join(typed)}.name={part}"
            continue
        typed.append(part)
        models = [m for model in models for m in _models_in(model, part)] or models
    return typed, plugin


def _fields_at(config_type: type[BaseModel], location: list[str]) -> list[str]:
    """Names of the fields inside the section at `location`; a union's members are told apart by their tag."""
    models: list[type[BaseModel]] = [config_type]
    for part in location:
        inner = [m for model in models for m in _models_in(model, part)]
        tagged = [m for m in models if _tag(m) == part]
        models = inner or tagged or models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_in(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    if field not in model.model_fields:
        return []
    annotation = model.model_fields[field].annotation
    candidates = get_args(annotation) if get_origin(annotation) else (annotation,)
    return [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]


def _tag(model: type[BaseModel]) -> str | None:
    return model.model_fields["name"].default if "name" in model.model_fields else None
