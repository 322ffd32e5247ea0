"""Search spaces written in a test."""

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from ray_musicssl.errors import ConfigError
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


@pytest.fixture
def refuses(load: Callable[..., SearchSpace], tmp_path: Path) -> Callable[[str, int, Sequence[str]], None]:
    """Checks that a file is refused: `refuses(what follows its first line, line of the error, parts of the message)`."""

    def check(text: str, line: int, parts: Sequence[str]) -> None:
        with pytest.raises(ConfigError) as refused:
            load("about: x\n" + text)
        message = str(refused.value)
        assert message.startswith(f"{tmp_path}/some.yaml:{line}: "), message
        for part in parts:
            assert part in message

    return check
