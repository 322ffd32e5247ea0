"""The laws of the architecture: who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ray_musicssl"
LAYERS = [
    {"errors", "registry", "run_dir", "sweep_dir", "progress", "randomness", "stopwatch", "float32", "config"},
    {"audio"},
    {"models", "clustering"},
    {"objectives", "features", "tasks"},
    {"training", "probing", "hub", "reporting", "demo", "search_space"},
    {"on_ray"},
    {"cli", "commands", "doctor"},
]
# The size arithmetic of frames is pure and has no imports of its own, so configuration may use it.
ALLOWED_UP = {("config", "ray_musicssl.audio.frames")}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports_of(source):
    """Every module that a source names, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def area_of(module):
    """The first name below the package: `ray_musicssl.audio.shard` -> `audio`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def layer_of(area):
    return next((number for number, areas in enumerate(LAYERS) if area in areas), None)


def upward_imports(area, source):
    own = layer_of(area)
    for name in sorted(imports_of(source)):
        other = layer_of(area_of(name)) if name.startswith("ray_musicssl.") else None
        allowed = any(area == where and name.startswith(module) for where, module in ALLOWED_UP)
        if own is not None and other is not None and other > own and not allowed:
            yield name


def area_of_path(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    assert list(upward_imports(area_of_path(path), path.read_text())) == []


def test_the_import_check_can_fail():
    assert list(upward_imports("audio", "from ray_musicssl.training import plan")) == [
        "ray_musicssl.training",
        "ray_musicssl.training.plan",
    ]
    assert list(upward_imports("training", "from ray_musicssl.audio import shard")) == []


def test_every_part_of_the_package_has_a_layer():
    areas = {area_of_path(path) for path in MODULES} - {"__init__", "presets"}
    assert areas == set().union(*LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_on_ray_imports_ray(path):
    imports_ray = any(name == "ray" or name.startswith("ray.") for name in imports_of(path.read_text()))
    assert not imports_ray or "on_ray" in path.parts


def loads(statement, *forbidden):
    """Whether running a statement in a fresh process loads one of some packages."""
    check = f"{statement}\nimport sys\nprint([m for m in {list(forbidden)!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    return ast.literal_eval(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("ray_musicssl", ("torch", "ray", "numpy")),
        ("ray_musicssl.cli", ("torch", "ray", "pyarrow", "sklearn")),
        ("ray_musicssl.config.loading", ("torch", "ray")),
        ("ray_musicssl.training.reader", ("torch", "ray")),
        ("ray_musicssl.audio.decode", ("torch", "ray")),
        ("ray_musicssl.demo.corpus", ("torch", "ray")),
        ("ray_musicssl.reporting.html", ("torch", "ray")),
        ("ray_musicssl.search_space.space", ("torch", "ray")),
        ("ray_musicssl.on_ray.batches", ("torch",)),  # the stream's processes start faster without it
        ("ray_musicssl.on_ray.prepare", ("torch",)),
        ("ray_musicssl.on_ray.judge", ("torch",)),
        ("ray_musicssl.training.loop", ("ray",)),
        ("ray_musicssl.probing.embed", ("ray",)),
        ("ray_musicssl.hub.export", ("ray", "transformers")),
        ("ray_musicssl.clustering.lloyd", ("torch", "ray")),
    ],
)
def test_importing_a_core_module_does_not_load_what_it_does_not_need(module, forbidden):
    assert loads(f"import {module}", *forbidden) == []


def test_the_fresh_process_check_can_fail():
    assert loads("import json, wave", "json") == ["json"]


def test_no_file_is_longer_than_300_lines():
    long = {str(path.relative_to(PACKAGE)): n for path in MODULES if (n := len(path.read_text().splitlines())) > 300}
    assert long == {}


FORBIDDEN_CALLS = {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "joblib.load", "torch.load"}


def dangerous(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            # PyTorch's loader that knows only a list of names; any other value of the word, or none, is dangerous.
            is_restricted = called == "torch.load" and any(
                keyword.arg == "weights_only" and ast.unparse(keyword.value) == "True" for keyword in node.keywords
            )
            if called in FORBIDDEN_CALLS and not is_restricted:
                yield called
            if any(keyword.arg == "shell" and ast.unparse(keyword.value) == "True" for keyword in node.keywords):
                yield "shell=True"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_unpickles_evaluates_or_starts_a_shell(path):
    assert list(dangerous(path.read_text())) == []


def test_the_danger_check_can_fail():
    assert list(dangerous("import subprocess\nsubprocess.run('x', shell=True)\neval('1')")) == ["shell=True", "eval"]
    loads_anything = "torch.load(p)\ntorch.load(p, weights_only=False)\ntorch.load(p, weights_only=flag)"
    assert list(dangerous(loads_anything)) == ["torch.load"] * 3
    assert list(dangerous("torch.load(p, weights_only=True)")) == []
