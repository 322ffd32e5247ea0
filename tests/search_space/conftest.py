"""Search spaces written in a test."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from ray_musicssl.search_space.space import SearchSpace, load_space


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a file: `write("about: x")`."""

    def write_text(text: str) -> Path:
        path = tmp_path / "some.yaml"
        path.write_text(dedent(text).lstrip("\n"))
        return path

    return write_text


@pytest.fixture
def load(write: Callable[[str], Path]) -> Callable[..., SearchSpace]:
    """Writes a file and reads it: `load("about: x ...", overrides=[...])`."""
    return lambda text, **named: load_space(write(text), **named)
