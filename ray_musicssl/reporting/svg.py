"""Figures as small inline SVG that takes its text colour and font from the page.

Conventions:
    Text, axes and grid are drawn in `INK`, which becomes CSS `currentColor`: one drawing suits light and dark pages.
    Series colours are of middle brightness, readable on both.
"""

import io
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#010203"
BLUE, ORANGE, GREEN, RED, GREY = "#3f83c5", "#d98032", "#3d9a72", "#cf5260", "#8b919a"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it scales, can be searched, and uses the page's font
    "text.parse_math": False,  # a name with dollar signs is a name
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.constrained_layout.use": True,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


P = ParamSpec("P")


def styled(draw: Callable[P, str]) -> Callable[Concatenate[str, P], str]:
    """Make a drawing function run in the report's style, leaving matplotlib's own untouched.

    The new first argument names the drawing; it must differ between the figures of a page, so that their inner names
    never meet. Equal names and arguments give equal text.
    """

    @wraps(draw)
    def in_style(key: str, *args: P.args, **kwargs: P.kwargs) -> str:
        with mpl.rc_context({**_STYLE, "svg.hashsalt": key}):
            return draw(*args, **kwargs)

    return in_style


def panels(num_rows: int = 1, *, width: float = 5.4, height: float = 2.7, shared_x: bool = False) -> list[Axes]:
    """A new figure's axes, from top to bottom.

    Args:
        num_rows: panels under each other.
        width: inches of the whole figure.
        height: inches of the whole figure.
        shared_x: panels show the same x axis.
    """
    grid = Figure(figsize=(width, height)).subplots(num_rows, 1, sharex=shared_x, squeeze=False)
    return [row[0] for row in grid]


def percent(share: float, _position: float) -> str:
    """A share as a tick label."""
    return f"{100 * share:g} %"


def finish(axes: Axes, *, legend: bool = True) -> None:
    """Give axes their grid, and a legend where there is something to name."""
    axes.grid(axis="y")
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")


def to_svg(axes: Axes, *, title: str) -> str:
    """The figure around `axes` as an `<svg>` element for a page.

    Args:
        axes: any axes of the figure.
        title: what a screen reader says.
    """
    buffer = io.StringIO()
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    return _inline(buffer.getvalue(), title)


def shortened(name: str, most: int = 36) -> str:
    """A name short enough for a legend, its end kept."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _inline(text: str, title: str) -> str:
    """Cut what only a file of its own needs, and hand colours and fonts to the page."""
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'<style type="text/css">.*?</style>', "", body, flags=re.DOTALL)
    body = re.sub(r'(<g|<svg) id="[^"]*"', r"\1", body)
    width, height = (float(number) for number in re.findall(r'(?:width|height)="([\d.]+)pt"', body)[:2])
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{_escape(title)}">'
    body = re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", body)
    body = re.sub(r"\n\s*", "\n", body)
    return body.replace(INK, "currentColor")


def _escape(text: str) -> str:
    for raw, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(raw, safe)
    return text
