import io

import pytest
from rich.console import Console

from ray_musicssl import progress as module
from ray_musicssl.progress import Meter, progress


class Clock:
    """A clock that moves when told."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def screen(monkeypatch):
    """What goes to a terminal that can move its cursor."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    monkeypatch.setattr(module, "stderr", console)
    return console.file


def test_off_a_terminal_a_plain_line_comes_every_few_seconds(clock, capsys):
    with progress("label", 100, "clips") as meter:
        meter.set_done(1)
        assert capsys.readouterr().err == ""
        clock.now += 10.0
        meter.set_done(20, "fast")
        assert capsys.readouterr().err == "label: 20/100 clips, 2 clips/s, 40 s left, fast\n"
        clock.now += 1.0
        meter.advance(2)
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "note", ["all well", "a note that makes the line longer than a narrow terminal, " * 3 + "is whole"]
)
def test_the_closing_line_has_the_count_and_the_time(clock, capsys, note):
    with progress("label", 100, "clips") as meter:
        meter.set_done(100, note)
        clock.now += 2.5
    said = capsys.readouterr()
    assert said.err == f"label      100 clips in 2.5 s  {note}\n"
    assert said.out == ""  # stdout is for results


def test_on_a_terminal_the_bar_moves_and_the_closing_line_stays(screen):
    with progress("label", 4, "clips") as meter:
        meter.advance(4, "all well")
    assert "\x1b" in screen.getvalue()
    assert "label      4 clips in " in screen.getvalue().rstrip().splitlines()[-1]


def test_an_error_passes_through_and_claims_no_end(capsys):
    with pytest.raises(RuntimeError, match="inside"), progress("label", 4, "clips"):
        raise RuntimeError("inside")
    assert capsys.readouterr().err == ""


def test_the_rate_counts_only_the_work_of_this_run(clock):
    meter = Meter("pretrain", 100, "steps")
    meter.start_from(60)
    clock.now += 10.0
    meter.set_done(80)
    assert meter.rate == pytest.approx(2.0)
    assert meter.line() == "pretrain: 80/100 steps, 2 steps/s, 10 s left"


def test_before_anything_is_done_no_time_is_promised(clock):
    meter = Meter("pretrain", 100, "steps")
    clock.now += 5.0
    assert meter.line() == "pretrain: 0/100 steps, 0 steps/s"


def test_a_note_stays_until_the_next_one(clock):
    meter = Meter("pretrain", 100, "steps")
    meter.advance(1, "loss 3")
    meter.advance(1)
    assert meter.note == "loss 3"
    meter.advance(1, "loss 2")
    assert (meter.done, meter.note) == (3, "loss 2")
