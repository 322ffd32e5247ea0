"""Pickles from elsewhere: weights and settings come out, nothing that they ask for is run."""

import argparse
import pickle
import sys
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.hub.legacy import StandIn, load_legacy, plain

FORMATS = [True, False]  # zip, and the format before it


class Touches:
    """Pickles to a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


class Evaluates(Touches):
    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


class Looks(Touches):
    def __reduce__(self):
        return getattr, (Path(self.path), "touch")


def save(value, path, *, is_zip=True):
    torch.save(value, path, _use_new_zipfile_serialization=is_zip)
    return path


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


@pytest.fixture
def foreign_class(monkeypatch):
    """Makes a class of a module that exists only while pickling: `foreign_class("omegaconf.dictconfig", "DictConfig")`."""

    def make(module_name, name, body=None):
        parts = module_name.split(".")
        for end in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:end]), ModuleType(".".join(parts[:end])))
        made = type(name, (), {"__module__": module_name, "__qualname__": name, **(body or {})})
        setattr(sys.modules[module_name], name, made)
        return made

    yield make
    monkeypatch.undo()


@pytest.mark.parametrize("is_zip", FORMATS)
@pytest.mark.parametrize("evil", [Touches, Evaluates, Looks])
def test_a_malicious_pickle_is_refused_by_name_and_does_not_run(tmp_path, canary, evil, is_zip):
    path = save({"model": {"w": torch.zeros(2)}, "cfg": evil(canary)}, tmp_path / "x.pt", is_zip=is_zip)
    with pytest.raises(DataError, match=r"refused: it asks for .*(posix\.system|builtins\.eval|builtins\.getattr)"):
        load_legacy(path, allow_legacy=True)
    assert not canary.exists()


@pytest.mark.parametrize("evil", [Touches, Evaluates])
def test_the_same_pickle_would_run_elsewhere(canary, evil):
    """The twin of the test above: its pickles are dangerous."""
    pickle.loads(pickle.dumps(evil(canary), protocol=2))  # noqa: S301  (our own)
    assert canary.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_bare_pickle_of_any_protocol_is_refused_and_does_not_run(tmp_path, canary, protocol):
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps(Touches(canary), protocol=protocol) * 5)
    with pytest.raises(DataError):
        load_legacy(path, allow_legacy=True)
    assert not canary.exists()


def test_names_the_first_look_missed_are_stopped_by_the_loader(tmp_path, canary, monkeypatch):
    path = save({"cfg": Touches(canary)}, tmp_path / "x.pt")
    monkeypatch.setattr("ray_musicssl.hub.legacy._globals_of", lambda _: iter(()))
    with pytest.raises(DataError, match="cannot be read safely"):
        load_legacy(path, allow_legacy=True)
    assert not canary.exists()


def test_a_second_pickle_in_the_archive_is_refused(tmp_path, canary):
    path = save({"w": torch.zeros(2)}, tmp_path / "x.pt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y/data.pkl", pickle.dumps(Touches(canary), protocol=2))
    with pytest.raises(DataError, match=r"2 records data\.pkl"):
        load_legacy(path, allow_legacy=True)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x02", b"PK\x03\x04 not a zip"])
def test_what_is_no_file_of_weights_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pt cannot be read"):
        load_legacy(path, allow_legacy=True)


def test_without_the_word_nothing_is_read_and_the_message_says_why(tmp_path):
    path = save({"w": torch.zeros(2)}, tmp_path / "x.pt")
    with pytest.raises(ConfigError, match=r"is a pickle.*any code to be run.*--allow-legacy"):
        load_legacy(path, allow_legacy=False)


@pytest.mark.parametrize("is_zip", FORMATS)
def test_tensors_of_all_kinds_and_plain_containers_come_back_equal(tmp_path, is_zip):
    value = OrderedDict(
        weights=torch.arange(6.0).reshape(2, 3).t(),
        half=torch.ones(3, dtype=torch.float16),
        brain=torch.ones(2, dtype=torch.bfloat16),
        whole=torch.tensor([1, 2]),
        parameter=torch.nn.Parameter(torch.ones(2)),
        rest=[1, 2.5, "x", None, True, (3,)],
    )
    found = load_legacy(save(value, tmp_path / "x.pt", is_zip=is_zip), allow_legacy=True)
    for name in list(value)[:-1]:
        assert torch.equal(found[name], value[name])
        assert found[name].dtype == value[name].dtype
    assert found["rest"] == value["rest"]


@pytest.mark.parametrize("is_zip", FORMATS)
def test_a_namespace_gives_its_settings_and_stays_inert(tmp_path, is_zip):
    args = argparse.Namespace(encoder_layers=3, normalize=True, inner=argparse.Namespace(x=1.5))
    found = load_legacy(save({"args": args}, tmp_path / "x.pt", is_zip=is_zip), allow_legacy=True)["args"]
    assert type(found) is StandIn
    assert plain(found) == {"encoder_layers": 3, "normalize": True, "inner": {"x": 1.5}}


def test_settings_that_hold_themselves_are_refused(tmp_path):
    args = argparse.Namespace(x=1)
    args.inner = args
    found = load_legacy(save({"args": args}, tmp_path / "x.pt"), allow_legacy=True)
    with pytest.raises(DataError, match="nested more than 32 deep"):
        plain(found["args"])


def test_configurations_of_absent_packages_give_their_values(tmp_path, foreign_class):
    held = {"__init__": lambda self, **values: self.__dict__.update(values)}
    node, mapping, listing, metadata = (
        foreign_class(f"omegaconf.{module}", name, body=held)
        for module, name in (
            ("nodes", "AnyNode"),
            ("dictconfig", "DictConfig"),
            ("listconfig", "ListConfig"),
            ("base", "ContainerMetadata"),
        )
    )
    about = metadata(ref_type=dict, element_type=int, resolver_cache=defaultdict(dict))
    cfg = mapping(
        _metadata=about,
        _content={
            "layers": node(_val=3, _metadata=about),
            "list": listing(_content=[node(_val=1), node(_val="b")]),
            "best": np.float64(1.5),
        },
    )
    found = plain(load_legacy(save({"cfg": cfg}, tmp_path / "x.pt"), allow_legacy=True)["cfg"])
    assert (found["layers"], found["list"]) == (3, [1, "b"])


def test_a_foreign_class_is_never_imported(tmp_path, foreign_class, monkeypatch):
    dictionary = foreign_class("fairseq.data.dictionary", "Dictionary")
    thing = dictionary()
    thing.symbols = ["a", "b"]
    path = save({"task_state": {"dictionaries": [thing]}}, tmp_path / "x.pt")
    package = tmp_path / "site" / "fairseq" / "data"
    package.mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = load_legacy(path, allow_legacy=True)
    assert plain(found["task_state"]["dictionaries"][0]) == {"symbols": ["a", "b"]}
    assert "fairseq" not in sys.modules
    with pytest.raises(SystemExit):
        __import__("fairseq")
