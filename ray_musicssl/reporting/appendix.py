"""Tables that a reader opens second: data, input files, layer weights, settings and versions."""

from collections.abc import Mapping
from typing import Any

from ray_musicssl.reporting.found import Ledger, Run
from ray_musicssl.reporting.paper import task_title
from ray_musicssl.reporting.scoreboard import Scoreboard
from ray_musicssl.reporting.scores import Score
from ray_musicssl.reporting.tables import NOTHING, Cell, Table

_MOST_REASONS = 20  # rows of one ledger; the rest is in the ledger itself


def data_table(board: Scoreboard) -> Table:
    """What each probe was fitted and scored on, and what could not be used."""
    scores: dict[str, Score] = {}
    for model in board.models:
        scores |= {task: score for task, score in model.scores.items() if task not in scores}
    rows = []
    for task in board.tasks:
        score = scores[task]
        splits = [_of_expected(score, split) for split in ("train", "valid", "test")]
        skipped = ", ".join(f"{count} {reason}" for reason, count in sorted(score.skipped.items()) if count)
        words = (task_title(task), score.dataset, skipped or NOTHING)
        rows.append((*(Cell(text=word) for word in words), *(Cell(text=text) for text in splits)))
    return Table(
        header=("task", "data set", "left out", "train", "valid", "test"),
        rows=tuple(rows),
        caption=" ".join(["Examples used of those that the annotations promise.", *_notes(board)]),
        num_text_columns=3,
    )


def _notes(board: Scoreboard) -> list[str]:
    """What is to be known of the copies of the data sets, once each."""
    noted = {
        f"{task_title(task)}: {note}.": None
        for task in board.tasks
        for model in board.models
        if task in model.scores
        for note in model.scores[task].notes
    }
    return list(noted)


def _of_expected(score: Score, split: str) -> str:
    used, expected = score.used.get(split), score.expected.get(split)
    if used is None:
        return NOTHING
    return f"{used:,}" if expected in (None, used) else f"{used:,} of {expected:,}"


def layers_table(board: Scoreboard) -> Table | None:
    """The probe's softmax weight of each layer; None if no score holds them."""
    weighted = [(m, t, m.scores[t].layer_weights) for m in board.models for t in board.tasks if t in m.scores]
    weighted = [entry for entry in weighted if len(entry[2]) > 1]
    if not weighted:
        return None
    most = max(len(weights) for _, _, weights in weighted)
    rows = []
    for model, task, weights in weighted:
        texts = [f"{weight:.3f}" for weight in weights] + [""] * (most - len(weights))
        rows.append((Cell(text=model.label), Cell(text=task_title(task)), *(Cell(text=text) for text in texts)))
    return Table(
        header=("model", "task", *(f"layer {layer}" for layer in range(most))),
        rows=tuple(rows),
        caption="Mean over probe seeds; layer 0 is the transformer's input. Short fits hardly move these weights from "
        "their start, so they say little about which layer knows what.",
        num_text_columns=2,
    )


def ledger_table(ledger: Ledger) -> Table:
    """Input files by status and reason, the most common first."""
    ranked = sorted(ledger.counts.items(), key=lambda item: (item[0][0] != "used", -item[1], item[0]))
    rows = [(status, reason or NOTHING, count) for (status, reason), count in ranked[:_MOST_REASONS]]
    rest = ranked[_MOST_REASONS:]
    if rest:
        rows.append(("…", f"{len(rest)} further reasons", sum(count for _, count in rest)))
    return Table(
        header=("status", "reason", "files"),
        rows=tuple((Cell(text=status), Cell(text=reason), Cell(text=f"{count:,}")) for status, reason, count in rows),
        num_text_columns=2,
    )


def config_table(run: Run) -> Table:
    """Every setting of a run, as `section.key` words that can be typed as overrides."""
    values = _flat(run.config.model_dump(mode="json")) if run.config else {}
    return _pairs("setting", values)


def versions_table(run: Run) -> Table:
    """The package versions that a run was made with."""
    return _pairs("package", run.versions)


def machine_table(machine: Mapping[str, Any]) -> Table:
    """What the stages ran on."""
    return _pairs("machine", _flat(machine))


def _pairs(what: str, values: Mapping[str, Any]) -> Table:
    rows = tuple((Cell(text=str(name)), Cell(text=str(value))) for name, value in values.items())
    return Table(header=(what, "value"), rows=rows, num_text_columns=2)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
