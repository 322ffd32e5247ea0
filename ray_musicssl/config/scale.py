"""Scales: a preset in another size, as data.

Conventions:
    A scale is YAML in `presets/scales/`: `shrink` multiplies the preset's own values, so that what presets differ in keeps
    its ratio; `values` then replaces. Overrides come after both. What a scale does not name stays as the preset has it.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml
from pydantic import Field

from ray_musicssl.config.section import Section
from ray_musicssl.errors import ConfigError
from ray_musicssl.registry import nearest

_SCALES = files("ray_musicssl.presets") / "scales"


class Shrinking(Section):
    """How one number becomes smaller."""

    times: float = Field(gt=0, le=1)
    at_least: float = Field(ge=0)
    """Never below this; a value that is smaller already stays."""

    def of(self, value: float) -> float:
        """The smaller number, whole if `value` is."""
        smaller = max(value * self.times, min(value, self.at_least))
        return round(smaller) if isinstance(value, int) else round(smaller, 6)


class Scale(Section):
    """One size."""

    about: str
    shrink: dict[str, Shrinking]
    """By field, written `section.key`."""
    values: dict[str, dict[str, Any]]

    def apply(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Lay the scale over whole settings; sections that they lack are left out."""
        scaled = {name: dict(part) if isinstance(part, Mapping) else part for name, part in values.items()}
        for field, shrinking in self.shrink.items():
            section, _, key = field.partition(".")
            if section in scaled:
                scaled[section][key] = shrinking.of(scaled[section][key])
        for section, part in self.values.items():
            if section in scaled:
                scaled[section] |= part
        return scaled


def scale_names() -> list[str]:
    """The scales that ship with the package, sorted."""
    return sorted(path.name.removesuffix(".yaml") for path in _SCALES.iterdir() if path.name.endswith(".yaml"))


def load_scale(name: str) -> Scale:
    """Read a scale.

    Raises:
        ConfigError: if there is no such scale.
    """
    names = scale_names()
    if name not in names:
        raise ConfigError(f'unknown scale "{name}"{nearest(name, names)}; known: {", ".join(names)}')
    return Scale.model_validate(yaml.safe_load((_SCALES / f"{name}.yaml").read_text()))
