"""Tables of plug-ins by name, loaded on first use.

A registry is an explicit table of `"module:Class"` strings: reading it shows all there is, and importing it costs nothing.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ray_musicssl.errors import ConfigError


def nearest(name: str, known: list[str]) -> str:
    """The hint ` (did you mean "x"?)` for the closest known name, or nothing."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f' (did you mean "{close[0]}"?)' if close else ""


class Registry(Mapping[str, str]):
    """A named table from plug-in name to `"module:Class"`."""

    def __init__(self, kind: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self._table = dict(table)

    def __getitem__(self, name: str) -> str:
        if name not in self._table:
            known = list(self._table)
            raise ConfigError(f'unknown {self.kind} "{name}"{nearest(name, known)}; known: {", ".join(known)}')
        return self._table[name]

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def load(self, name: str) -> Any:
        """Import and return the class registered as `name`.

        Raises:
            ConfigError: if nothing is registered under that name; the message lists what is.
        """
        module_name, _, attribute = self[name].partition(":")
        return getattr(import_module(module_name), attribute)
