import sys

import pytest

from ray_musicssl.errors import ConfigError
from ray_musicssl.registry import Registry, nearest

COLOURS = Registry("colour", {"red": "fractions:Fraction", "green": "no_such_module:Thing"})


def test_a_name_gives_its_class():
    from fractions import Fraction

    assert COLOURS.load("red") is Fraction


def test_an_unknown_name_lists_what_is_known_and_the_nearest():
    with pytest.raises(ConfigError, match=r'unknown colour "gren" \(did you mean "green"\?\); known: red, green'):
        COLOURS.load("gren")


def test_a_name_like_no_other_gets_no_hint():
    with pytest.raises(ConfigError, match=r'unknown colour "xyz"; known'):
        _ = COLOURS["xyz"]


def test_a_registry_is_a_mapping_in_the_order_of_its_table():
    assert list(COLOURS) == ["red", "green"]
    assert len(COLOURS) == 2
    assert "red" in COLOURS
    assert "blue" not in COLOURS
    assert 3 not in COLOURS


def test_an_entry_is_imported_only_when_it_is_loaded():
    assert COLOURS["green"] == "no_such_module:Thing"
    assert "no_such_module" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        COLOURS.load("green")


def test_changing_the_table_afterwards_changes_nothing():
    table = {"red": "fractions:Fraction"}
    registry = Registry("colour", table)
    table["blue"] = "a:B"
    assert list(registry) == ["red"]


def test_the_hint_is_empty_without_a_close_name():
    assert nearest("mffc", ["mfcc", "chroma"]) == ' (did you mean "mfcc"?)'
    assert nearest("zzz", ["mfcc", "chroma"]) == ""
    assert nearest("zzz", []) == ""
