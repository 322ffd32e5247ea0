"""A YAML file whose every value knows its line, for messages that say where to look."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ray_musicssl.errors import ConfigError
from ray_musicssl.registry import nearest

Keys = tuple[str | int, ...]
"""Keys and positions that lead to a value: `("axes", "masking.mask_prob", "grid", 0)`."""


@dataclass(frozen=True)
class Document:
    """Plain values and their lines."""

    path: Path
    values: dict[str, Any]
    lines: dict[Keys, int]

    def where(self, *keys: str | int) -> str:
        """`FILE:LINE` of a value; of what it should stand in, if the file lacks it."""
        known = next((keys[:n] for n in range(len(keys), 0, -1) if keys[:n] in self.lines), ())
        return f"{self.path}:{self.lines.get(known, 1)}"

    def error(self, message: str, *keys: str | int) -> ConfigError:
        """An error that begins with the place of a value."""
        return ConfigError(f"{self.where(*keys)}: {message}")


def read_document(path: Path) -> Document:
    """Read a file of one mapping.

    Raises:
        ConfigError: if there is no such file, it is not YAML, no mapping, names a key twice, or has anchors (what stands
            in a file should be seen in it, and a few of them can stand for millions of values).
    """
    if not path.is_file():
        near = sorted(place.name for place in path.parent.glob("*.yaml"))
        there = f"; {path.parent} has {', '.join(near)}" if near else ""
        raise ConfigError(f"no search space at {path}{nearest(path.name, near)}{there}")
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Keys, int] = {}
        if node is not None:
            _note_lines(path, node, (), lines, set())
        values = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {error.problem}") from error
    except ConfigError:
        raise
    # Dates and numbers that are none; brackets in thousands.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}:1: not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1: a search space is a mapping such as `preset: music2vec-vanilla`, not {values!r}")
    return Document(path=path, values=values, lines=lines)


def _note_lines(path: Path, node: yaml.Node, keys: Keys, lines: dict[Keys, int], seen: set[int]) -> None:
    """Note the line of every value under a node; a key's own line where a mapping has one."""
    line = node.start_mark.line + 1
    if id(node) in seen:
        raise ConfigError(f"{path}:{line}: anchors and aliases are not part of a search space; write the value again")
    seen.add(id(node))
    lines.setdefault(keys, line)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(path, item, (*keys, index), lines, seen)
    elif isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            line, key = key_node.start_mark.line + 1, key_node.value
            if key_node.tag != "tag:yaml.org,2002:str":
                raise ConfigError(f"{path}:{line}: the key {key} is not text; write it in quotes")
            if (*keys, key) in lines:
                earlier = lines[*keys, key]
                raise ConfigError(f'{path}:{line}: "{key}" is there twice (first in line {earlier}); leave one out')
            lines[*keys, key] = line
            _note_lines(path, value_node, (*keys, key), lines, seen)
