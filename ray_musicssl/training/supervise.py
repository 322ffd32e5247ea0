"""Runs a training in a thread while the main thread shows progress and passes on a request to stop."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ray_musicssl import errors
from ray_musicssl.errors import EnvironmentFaultError, MusicsslError, StoppedError
from ray_musicssl.progress import Meter, progress
from ray_musicssl.run_dir import read_json, write_json
from ray_musicssl.training.checkpoint import newest_checkpoint
from ray_musicssl.training.kept_checkpoints import set_aside_unsound
from ray_musicssl.training.loop import Run
from ray_musicssl.training.metrics_log import read_metrics

POLL_S = 0.5
LEARNED_SHARE = 0.98  # of the label entropy: a loss above it is what frequencies alone give

logger = logging.getLogger(__name__)


def failure_path(run: Run) -> Path:
    """Where workers leave an error that no retry will mend."""
    return run.run_dir.path / "failed.json"


def leave_failure(run: Run, error: MusicsslError) -> None:
    """Leave an error for the process that supervises the run; workers that start after it do nothing."""
    write_json(failure_path(run), {"error": type(error).__name__, "message": str(error)})


def supervise(run: Run, fit: Callable[[], None]) -> None:
    """Call `fit` until it ends, a worker leaves a failure, or somebody asks to stop.

    Raises:
        MusicsslError: what a worker left.
        EnvironmentFaultError: if `fit` raised anything else.
        StoppedError: if it was stopped before its last step.
    """
    failure_path(run).unlink(missing_ok=True)
    run.stop_path.unlink(missing_ok=True)
    set_aside_unsound(run.run_dir)
    thread = _Thread(fit)
    try:
        with stop_on_signal(run.stop_path), progress("pretrain", run.config.training.max_steps, "steps") as meter:
            _follow(thread, run, meter)
    finally:
        is_stopped = run.stop_path.exists()
        run.stop_path.unlink(missing_ok=True)
    if failure_path(run).exists():
        failure = read_json(failure_path(run))
        raise getattr(errors, failure["error"])(failure["message"])
    if isinstance(thread.error, MusicsslError):
        raise thread.error
    if thread.error:
        raise EnvironmentFaultError(
            f"training ended with {type(thread.error).__name__}: {_last_line(thread.error)}; the same command goes on from "
            f"the newest checkpoint"
        ) from thread.error
    checkpoint = newest_checkpoint(run.run_dir.checkpoints_dir)
    if is_stopped and (checkpoint is None or checkpoint.step < run.config.training.max_steps):
        raise StoppedError(f"stopped; the same command goes on from {run.run_dir.checkpoints_dir}")
    warn_if_nothing_was_learned(run)


def warn_if_nothing_was_learned(run: Run) -> None:
    """Say so if the run's last loss is no better than guessing labels by how often they occur."""
    lines = read_metrics(run.run_dir.metrics_path)
    if not (run.num_labels and lines):
        return
    loss = lines[-1]["pretrain/masked_loss"]
    if loss > LEARNED_SHARE * run.label_entropy:
        logger.warning(
            "nothing was learned from context: the loss on masked frames is %.2f, the entropy of the labels %.2f nats; train "
            "longer, take more and shorter crops, or raise %s.unmasked_weight for a small encoder",
            *(loss, run.label_entropy, "objective.musichubert" if run.config.teacher else "objective"),
        )


class _Thread(threading.Thread):
    """Runs the training and keeps its error."""

    def __init__(self, fit: Callable[[], None]) -> None:
        super().__init__(name="pretrain", daemon=True)
        self._fit = fit
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._fit()
        except Exception as error:  # noqa: BLE001  (kept for the main thread, which raises it)
            self.error = error


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"


def _follow(thread: _Thread, run: Run, meter: Meter) -> None:
    checkpoint = newest_checkpoint(run.run_dir.checkpoints_dir)
    meter.start_from(checkpoint.step if checkpoint else 0)
    while thread.is_alive():
        thread.join(POLL_S)
        lines = read_metrics(run.run_dir.metrics_path)
        if lines:
            last = lines[-1]
            meter.set_done(last["step"], _note(last, run))


def _note(last: dict[str, float], run: Run) -> str:
    entropy = f" (labels' entropy {run.label_entropy:.2f})" if run.num_labels else ""
    return f"loss {last['pretrain/masked_loss']:.3f}{entropy}, {last['data/audio_s_per_s']:.0f} s audio/s"


@contextmanager
def stop_on_signal(stop_path: Path) -> Iterator[None]:
    """First SIGTERM or Ctrl-C: ask, by a file, that work is saved and stopped. Second: give up at once.

    Only the main thread of a process can do so; elsewhere nothing is changed.

    Raises:
        KeyboardInterrupt: at the second signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: object) -> None:
        if stop_path.exists():
            raise KeyboardInterrupt
        stop_path.touch()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
