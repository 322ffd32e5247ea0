"""Variants: named sets of settings, as the paper's rows are, and which of them wait for another one's checkpoint."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray_musicssl.config.loading import preset_names
from ray_musicssl.config.scale import scale_names
from ray_musicssl.registry import nearest
from ray_musicssl.search_space.document import Document
from ray_musicssl.search_space.setting import Setting, read_setting
from ray_musicssl.search_space.sheet import Sheet

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # names of directories, too
_OWN_KEYS = ("preset", "scale", "after")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A preset, its size, and what is changed of it."""

    name: str  # empty: the only one, of a file without `variants:`
    preset: str
    scale: str
    settings: tuple[Setting, ...]
    after: str = ""  # the variant whose checkpoint its targets are a hidden layer of
    wave: int = 0  # how many variants come before it in that chain

    @property
    def title(self) -> str:
        """Its name; the preset's if it has none."""
        return self.name or self.preset

    @property
    def place(self) -> tuple[str, ...]:
        """Where it stands in the file."""
        return ("variants", self.name) if self.name else ("preset",)


def read_variants(document: Document, sheet: Sheet) -> list[Variant]:
    """The variants of a file, in its order; a single nameless one if it has none.

    Raises:
        ConfigError: with file and line, if a name, preset, scale, config path or `after` is wrong, or they go in a circle.
    """
    if "variants" in document.values and not sheet.variants:
        raise document.error("variants is empty; name one, or leave the word out", "variants")
    _check_names(document, sheet)
    waves = _waves(document, {name: str(given.get("after") or "") for name, given in sheet.variants.items()})
    if not sheet.variants:
        return [_read_variant(document, sheet, "", {}, wave=0)]
    return [_read_variant(document, sheet, name, given, wave=waves[name]) for name, given in sheet.variants.items()]


def _read_variant(document: Document, sheet: Sheet, name: str, given: Mapping[str, Any], *, wave: int) -> Variant:
    place = ("variants", name)
    own: dict[str, str] = {}
    for key in _OWN_KEYS:
        value = given.get(key, getattr(sheet, key, ""))
        if not isinstance(value, str):
            raise document.error(f"{key} of variant {name} is {value!r}, not a name", *place, key)
        own[key] = value
    if not own["preset"]:
        raise document.error(f"{f'variant {name}' if name else 'the space'} has no preset; give preset: NAME", *place)
    for key, known in (("preset", preset_names()), ("scale", scale_names())):
        if own[key] and own[key] not in known:
            where = (*place, key) if key in given else (key,)
            raise document.error(
                f'unknown {key} "{own[key]}"{nearest(own[key], known)}; known: {", ".join(known)}', *where
            )
    settings = [
        *(read_setting(document, key, value, ("overrides", key)) for key, value in sheet.overrides.items()),
        *(read_setting(document, key, value, (*place, key)) for key, value in given.items() if key not in _OWN_KEYS),
    ]
    # The later of two words counts, and takes the place of the earlier, so that every trial lists a key once.
    lasting = tuple({setting.key: setting for setting in settings}.values())
    return Variant(name=name, settings=lasting, wave=wave, **own)


def _check_names(document: Document, sheet: Sheet) -> None:
    for name in sheet.variants:
        if not _NAME.fullmatch(name):
            raise document.error(
                f'variant name "{name}" must be of letters, digits, `.`, `_` and `-`, at most 64, and begin with a letter '
                f"or digit: directories are named after it",
                "variants",
                name,
            )


def _waves(document: Document, after: Mapping[str, str]) -> dict[str, int]:
    """How many variants come before each."""
    waves = {}
    for name in after:
        chain = [name]
        while (parent := after[chain[-1]]) != "":
            place = ("variants", chain[-1], "after")
            if parent not in after:
                known = [other for other in after if other != chain[-1]]
                raise document.error(
                    f'after: "{parent}"{nearest(parent, known)} is no variant; there are {", ".join(known) or "no others"}',
                    *place,
                )
            if parent in chain:
                circle = " after ".join([*chain[chain.index(parent) :], parent])
                raise document.error(
                    f"{circle}: they wait for each other; let one take its targets from no other", *place
                )
            chain.append(parent)
        waves[name] = len(chain) - 1
    return waves


def check_axes(document: Document, variants: Sequence[Variant], axes: Sequence[str], words: Sequence[Setting]) -> None:
    """Check that nothing is set where an axis or a word of the command would only set it again.

    Raises:
        ConfigError: with file and line, if so.
    """
    for setting in words:
        covered = [
            axis for axis in axes if f"{axis}.".startswith(f"{setting.key}.")
        ]  # `masking={...}` has fields in it
        if covered:
            raise document.error(
                f"{setting.word} on the command line, but {covered[0]} is an axis; drop one", "axes", covered[0]
            )
    for variant in variants:
        for setting in variant.settings:
            if setting.key in axes:
                raise document.error(
                    f"{setting.word} has no effect: {setting.key} is an axis; drop one", *setting.place
                )
