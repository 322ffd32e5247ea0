"""What a page is built of: sections of blocks, each a table, a paragraph, a heading, figures or a fold."""

from dataclasses import dataclass
from typing import Literal

from ray_musicssl.reporting.tables import Table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One drawing and what it shows."""

    svg: str
    caption: str
    is_wide: bool = False
    kind: Literal["figure"] = "figure"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A table, a paragraph or a heading inside a section; a fold holds tables and figures that open on a click."""

    kind: Literal["table", "text", "heading", "figures", "fold"]
    text: str = ""
    table: Table | None = None
    figures: tuple[Figure, ...] = ()
    blocks: tuple["Block", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page."""

    title: str
    blocks: tuple[Block, ...]


class Keys:
    """Names for figures, each given once."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> str:
        """The next name."""
        self._count += 1
        return f"figure-{self._count}"


def text(words: str) -> list[Block]:
    """A paragraph, if there are words."""
    return [Block(kind="text", text=words)] if words else []


def fold(title: str, *blocks: Block) -> Block:
    """Blocks that open on a click."""
    return Block(kind="fold", text=title, blocks=blocks)


def table_block(table: Table) -> Block:
    """A table as a block."""
    return Block(kind="table", table=table)
