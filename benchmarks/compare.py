"""Timing several ways of doing the same thing, fairly: each in its own process, in turn, in shuffled rounds.

Conventions:
    A case is prepared once (imports, data, a run that is not timed) and then stepped once a round; the order of the cases
    is shuffled anew for every round, so that what else the machine does falls on all of them alike.
    CPU seconds are those of all threads of the case's process. Of a busy machine, trust them and not the wall clock.
    A ratio is the best peer's CPU seconds an item by the case's, taken round by round, then the median: above 1 is faster than
    the best peer. Libraries are held to the same number of threads in every process.

    def prepare_ours(num_rows: int) -> Step:      # runs in the case's own process
        rows = make_rows(num_rows)
        return lambda: {"inertia": fit(rows).inertia}

    cases = [Case(name="ours", prepare=prepare_ours, arguments={"num_rows": 1000}, is_ours=True, num_items=1000), ...]
    print(markdown(compare(cases, rounds=5), title="39-d", item="rows"))
"""

import json
import multiprocessing
import os
import random
import resource
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

Scores = Mapping[str, float]
# Does the work once and says what came of it: scores by name, or what computes them after the clock has stopped.
Step = Callable[[], Scores | Callable[[], Scores]]

# Scores of these names stand for what was clocked: the work was done in other processes, or not all of it counts.
CPU_S = "cpu_s"
WALL_S = "wall_s"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_MB = 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way of doing the work."""

    name: str
    prepare: Callable[..., Step]  # a function of a module, called in the case's own process
    num_items: float  # what one step works through: rows, audio seconds, ...
    arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)  # of the case's process
    is_ours: bool = False
    is_peer: bool = True  # counts as a peer unless it is ours; False for a case that is not the same function


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the rounds of one case took; the i-th of each belong to the same round."""

    case: Case
    cpu_s: tuple[float, ...]
    wall_s: tuple[float, ...]
    peak_mb: float  # most resident memory of the case's process, imports and data included
    scores: Mapping[str, float]  # of the last round

    def ratio_to(self, other: "Timing") -> float:
        """How many times less CPU an item than `other`, round by round, the median; above 1 is faster."""
        more_items = self.case.num_items / other.case.num_items
        return more_items * median(theirs / ours for theirs, ours in zip(other.cpu_s, self.cpu_s, strict=True))

    def wall_ratio_to(self, other: "Timing") -> float:
        """As `ratio_to`, by the wall clock."""
        more_items = self.case.num_items / other.case.num_items
        return more_items * median(theirs / ours for theirs, ours in zip(other.wall_s, self.wall_s, strict=True))


@dataclass(frozen=True)
class _Failure:
    text: str  # a traceback


@dataclass(frozen=True, kw_only=True)
class _Reply:
    cpu_s: float
    wall_s: float
    peak_mb: float
    scores: Mapping[str, float]


def compare(
    cases: Sequence[Case], *, rounds: int = 5, seed: int = 0, num_threads: int = 1, is_warm: bool = True
) -> list[Timing]:
    """Run every case `rounds` times, one at a time, in shuffled order.

    Args:
        cases: what to compare; their processes all live until the end.
        rounds: timed steps of each case.
        seed: of the order.
        num_threads: threads that numerical libraries may use in each process.
        is_warm: step each case once before the rounds, untimed.

    Raises:
        ValueError: if `rounds` is below 1 or two cases have the same name.
        RuntimeError: if a case fails, with its own traceback.
    """
    names = [case.name for case in cases]
    if rounds < 1 or len(set(names)) != len(names):
        raise ValueError(f"rounds is {rounds} (at least 1 is needed) and the cases are {names} (each name once)")
    draws = random.Random(seed)  # noqa: S311  (an order, not a secret)
    replies: dict[str, list[_Reply]] = {name: [] for name in names}
    with ExitStack() as stack:
        pipes = {case.name: stack.enter_context(_process(case, num_threads)) for case in cases}
        for name, pipe in pipes.items():
            _receive(pipe, name)  # it is ready; all prepare themselves at the same time, and nothing is timed before
        for number in range(-1 if is_warm else 0, rounds):
            for name in draws.sample(names, len(names)):
                reply = _ask(pipes[name], name)
                if number >= 0:
                    replies[name].append(reply)
    return [_timing(case, replies[case.name]) for case in cases]


def best_peer(timings: Sequence[Timing]) -> Timing | None:
    """The peer with the fewest CPU seconds an item; None if none is a peer."""
    peers = [timing for timing in timings if timing.case.is_peer and not timing.case.is_ours]
    return min(peers, key=lambda timing: median(timing.cpu_s) / timing.case.num_items, default=None)


def markdown(timings: Sequence[Timing], *, title: str, item: str = "items") -> str:
    """One table: medians, ratios to the best peer, and the scores each case gave."""
    best = best_peer(timings)
    scores = list(dict.fromkeys(name for timing in timings for name in timing.scores if name not in (CPU_S, WALL_S)))
    head = ["case", "CPU s", "wall s", f"{item} per CPU s", "CPU ratio", "wall ratio", "peak RSS MB", *scores]
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for timing in timings:
        cpu_s = median(timing.cpu_s)
        cells = [
            f"**{timing.case.name}**" if timing.case.is_ours else timing.case.name,
            f"{cpu_s:.3f}",
            f"{median(timing.wall_s):.3f}",
            f"{timing.case.num_items / cpu_s:,.0f}",
            f"{timing.ratio_to(best):.2f}" if best else "-",
            f"{timing.wall_ratio_to(best):.2f}" if best else "-",
            f"{timing.peak_mb:,.0f}",
            *(f"{timing.scores[name]:.7g}" if name in timing.scores else "-" for name in scores),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    rounds = len(timings[0].cpu_s)
    lines += ["", f"{rounds} rounds; ratios to {best.case.name if best else 'nobody'}, above 1 is faster.", ""]
    return "\n".join(lines)


def as_json(timings: Sequence[Timing], *, title: str) -> dict[str, Any]:
    """The same figures, every round of them, as JSON-like values."""
    best = best_peer(timings)
    cases = [
        {
            "name": timing.case.name,
            "is_ours": timing.case.is_ours,
            "cpu_s": list(timing.cpu_s),
            "wall_s": list(timing.wall_s),
            "items_per_cpu_s": timing.case.num_items / median(timing.cpu_s),
            "cpu_ratio": timing.ratio_to(best) if best else None,
            "peak_mb": timing.peak_mb,
            "scores": dict(timing.scores),
        }
        for timing in timings
    ]
    return {"title": title, "best_peer": best.case.name if best else None, "cases": cases}


def write_results(path: Path, tables: Sequence[Mapping[str, Any]]) -> None:
    """Write what `as_json` gave for several tables as one JSON file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(list(tables), indent=1) + "\n")
    temporary.replace(path)


@contextmanager
def _process(case: Case, num_threads: int) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")  # a fresh interpreter: libraries read their settings as they load
    here, there = context.Pipe()
    worker = context.Process(target=_serve, args=(case, there), name=case.name, daemon=True)
    with _environment({name: str(num_threads) for name in THREAD_VARIABLES} | dict(case.environment)):
        worker.start()
    there.close()
    try:
        yield here
    finally:
        here.close()  # the worker reads the end of the pipe and leaves
        worker.join(timeout=10)
        worker.kill()
        worker.join()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(case: Case, pipe: Connection) -> None:
    try:
        step = case.prepare(**case.arguments)
        pipe.send("ready")
        while True:
            pipe.recv()
            pipe.send(_timed(step))
    except EOFError:
        return  # the other side has hung up: all rounds are done
    except Exception:  # noqa: BLE001  (it is raised again on the other side)
        pipe.send(_Failure(traceback.format_exc()))


def _timed(step: Step) -> _Reply:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    found = step()
    cpu_s, wall_s, peak_mb = time.process_time() - cpu_s, time.perf_counter() - wall_s, _peak_mb()
    scores = found() if callable(found) else found
    wall_s, cpu_s = scores.get(WALL_S, wall_s), scores.get(CPU_S, cpu_s)
    return _Reply(cpu_s=cpu_s, wall_s=wall_s, peak_mb=peak_mb, scores=dict(scores))


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # Linux hands ru_maxrss down from the process that started this one; VmHWM is this program's own.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB  # bytes where there is no /proc


def _ask(pipe: Connection, name: str) -> _Reply:
    pipe.send("step")
    return _receive(pipe, name)


def _receive(pipe: Connection, name: str) -> Any:
    try:
        found = pipe.recv()
    except EOFError as error:
        raise RuntimeError(f"the process of case {name!r} ended without a word; is there enough memory?") from error
    if not isinstance(found, _Failure):
        return found
    raise RuntimeError(f"case {name!r} failed:\n{found.text}")


def _timing(case: Case, replies: Sequence[_Reply]) -> Timing:
    return Timing(
        case=case,
        cpu_s=tuple(reply.cpu_s for reply in replies),
        wall_s=tuple(reply.wall_s for reply in replies),
        peak_mb=max(reply.peak_mb for reply in replies),
        scores=replies[-1].scores,
    )
