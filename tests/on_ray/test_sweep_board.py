"""What a person sees of a sweep while it runs."""

import json
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from ray_musicssl.on_ray import sweep_board
from ray_musicssl.on_ray.sweep_board import SweepBoard, table
from ray_musicssl.sweep_dir import SweepDir, TrialRecord, write_record

RECORD = TrialRecord(
    name="a",
    variant="a",
    preset="music2vec-demo",
    scale="",
    overrides=(),
    settings={},
    identity="1",
    judged_by="2",
    max_steps=600,
)


@pytest.fixture
def sweep(tmp_path):
    found = SweepDir(tmp_path)
    for name in ("b", "a"):
        write_record(found.record_path(name), replace(RECORD, name=name))
    lines = [{"step": 10, "pretrain/loss": 3.0}, {"step": 20, "pretrain/loss": 2.5}]
    found.run_dir("a").metrics_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return found


def set_to(sweep, name, **facts):
    write_record(sweep.record_path(name), replace(sweep.record(name), **facts))


def test_rows_follow_the_space_and_say_how_far_each_trial_is(sweep):
    set_to(sweep, "a", status="running", stage="pretrain")
    a, b = SweepBoard(sweep, ["a", "b"]).rows()
    assert (a.record.name, a.step, a.loss, a.doing) == ("a", 20, 2.5, "running: pretrain")
    assert (b.record.name, b.step, b.loss, b.doing) == ("b", 0, None, "pending")


def test_a_search_shows_every_trial_that_there_comes_to_be(sweep):
    board = SweepBoard(sweep, [])
    assert [row.record.name for row in board.rows()] == ["a", "b"]
    write_record(sweep.record_path("c"), replace(RECORD, name="c"))
    assert [row.record.name for row in board.rows()] == ["a", "b", "c"]


def test_without_a_terminal_each_change_is_a_line_and_nothing_else_is(sweep, monkeypatch, capsys):
    monkeypatch.setattr(sweep_board, "LINE_EVERY_S", 1e9)
    board = SweepBoard(sweep, ["a", "b"])
    board.show()
    assert capsys.readouterr().err == ""
    set_to(sweep, "a", status="done", score=0.5, wall_s=90.0)
    board.show()
    board.show()
    set_to(sweep, "b", status="failed", reason="no clip is long enough")
    board.show()
    assert capsys.readouterr().err.splitlines() == [
        "a: done, step 20/600, loss 2.500, score 50.0, 1.5 min",
        "b: failed, step 0/600, 0.0 min: no clip is long enough",
    ]


def test_the_table_has_a_line_a_trial_with_its_reason(sweep):
    set_to(sweep, "b", status="failed", reason="[red] is\nno colour")
    console = Console(file=sys.stdout, width=120)
    with console.capture() as captured:
        console.print(table(SweepBoard(sweep, ["a", "b"]).rows()))
    lines = [" ".join(line.split()) for line in captured.get().splitlines()]
    assert lines == [
        "trial status step loss score minutes",
        "a pending 20/600 2.500",
        "b failed 0/600 [red] is no colour",
    ]
