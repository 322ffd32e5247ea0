"""Figures of codebooks and labels, each a function from values to inline SVG."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from ray_musicssl.reporting.codebook_facts import CodebookFacts
from ray_musicssl.reporting.label_facts import LabelFacts
from ray_musicssl.reporting.svg import BLUE, GREY, INK, ORANGE, finish, panels, percent, styled, to_svg

_MOST_POINTS = 400  # of one curve; more do not show at this size
_LONGEST_SHOWN = 40  # frames


@styled
def usage(book: CodebookFacts) -> str:
    """Share of the frames in each cluster, the fullest first, beside an even share."""
    counts = np.sort(np.asarray(book.usage, float))[::-1]
    shares = counts / max(counts.sum(), 1.0)
    if len(shares) > _MOST_POINTS:
        shares = shares[np.linspace(0, len(shares) - 1, _MOST_POINTS).astype(int)]
    ranks = np.linspace(1, len(counts), len(shares))
    axes = panels()[0]
    axes.fill_between(ranks, shares, step="mid", color=BLUE, alpha=0.55, linewidth=0)
    axes.axhline(1 / book.num_clusters, color=INK, linestyle=":", linewidth=1, label="even use")
    axes.set_xlabel("cluster, fullest first")
    axes.set_ylabel("share of the frames")
    axes.yaxis.set_major_formatter(percent)
    axes.set_xlim(0.5, len(counts) + 0.5)
    axes.set_ylim(bottom=0)
    finish(axes)
    return to_svg(axes, title="Cluster usage")


@styled
def inertia(book: CodebookFacts) -> str:
    """Squared distance to the nearest centroid after each update or round, a frame."""
    axes = panels()[0]
    values = np.asarray(book.inertia) / max(book.num_frames, 1)
    axes.plot(np.arange(len(values)), values, color=BLUE, marker="o" if len(values) < 30 else "", markersize=3)
    axes.set_xlabel("rounds" if book.has_rounds else "updates")
    axes.set_ylabel("inertia a frame")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    finish(axes, legend=False)
    return to_svg(axes, title="Inertia of the k-means fit")


@styled
def run_lengths(labels: LabelFacts) -> str:
    """Share of the runs of equal labels that have each length; longer ones are gathered in the last bar."""
    runs = np.asarray(labels.runs, float)
    last = min(len(runs) - 1, _LONGEST_SHOWN)
    shares = np.append(runs[1:last], runs[last:].sum()) / runs.sum()
    axes = panels()[0]
    axes.bar(np.arange(1, last + 1), shares, width=0.85, color=BLUE, alpha=0.75)
    axes.set_xlabel(f"length of a run, frames of {1000 / labels.frame_rate:g} ms ({last}: or longer)")
    axes.set_ylabel("share of the runs")
    axes.yaxis.set_major_formatter(percent)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    finish(axes, legend=False)
    return to_svg(axes, title="Lengths of runs of equal labels")


@styled
def agreement(labels: LabelFacts) -> str:
    """PNMI with every kind of truth, beside both chances: the line between is what the labels know of it."""
    kinds = list(reversed(labels.truth))
    axes = panels(height=0.8 + 0.27 * len(kinds))[0]
    rows = np.arange(len(kinds))
    found = [kind.found.pnmi for kind in kinds]
    chance = [kind.other_song.pnmi if kind.other_song else kind.shuffled.pnmi for kind in kinds]
    axes.hlines(rows, chance, found, color=BLUE, alpha=0.35, linewidth=2.2)
    axes.plot([kind.shuffled.pnmi for kind in kinds], rows, "|", color=GREY, markersize=8, label="shuffled frames")
    if any(kind.other_song for kind in kinds):
        axes.plot(chance, rows, "o", color=ORANGE, markerfacecolor="none", markersize=5, label="another song")
    axes.plot(found, rows, "o", color=BLUE, markersize=5, label="labels")
    axes.set_yticks(rows, [kind.kind.replace("_", " ") for kind in kinds])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share of what is to know that the labels tell (PNMI)")
    axes.grid(axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)
    return to_svg(axes, title="Agreement of labels with what sounds")
