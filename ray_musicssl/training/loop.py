"""The training loop of one worker: crops in, checkpoints and scalars out. Knows no Ray."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch

from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import DataError
from ray_musicssl.objectives.base import PretrainBatch
from ray_musicssl.objectives.building import build_model, compile_layers
from ray_musicssl.run_dir import RunDir
from ray_musicssl.training.batch import make_batch
from ray_musicssl.training.checkpoint import Checkpoint, restore, write_checkpoint
from ray_musicssl.training.collective import Collective
from ray_musicssl.training.metrics_log import MetricsLog
from ray_musicssl.training.reader import StepCrops
from ray_musicssl.training.start import load_start
from ray_musicssl.training.step import Stepper, StepResult


class SaveCheckpoint(Protocol):
    """Keeps a checkpoint; every worker calls it after the same steps, only the first one's `write` is used."""

    def __call__(self, step: int, write: Callable[[Path], None]) -> None:
        """Have `write(directory)` fill a directory and keep it as the checkpoint of `step`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a worker needs to know of its run."""

    config: PretrainConfig
    run_dir: RunDir
    num_labels: Sequence[int]  # classes of each label set
    label_entropy: float  # nats a frame, summed over label sets; 0 without labels
    provenance: Mapping[str, Any]

    @property
    def stop_path(self) -> Path:
        """While this file exists, workers save and stop after their current step."""
        return self.run_dir.path / "stop-requested"


class Worker:
    """One worker's share of a run."""

    def __init__(self, run: Run, *, device: torch.device, checkpoint: Checkpoint | None) -> None:
        self.run = run
        self.config = run.config
        self.device = device
        self.collective = Collective()
        start = None if checkpoint else load_start(run.run_dir)
        model = build_model(run.config, run.num_labels, start=start).to(device)
        if run.config.training.compile:
            compile_layers(model)
        self.stepper = Stepper(model, run.config, self.collective)
        if checkpoint:
            restore(checkpoint, self.stepper)
        self.first_step = checkpoint.step if checkpoint else 0
        self._log = MetricsLog(run.run_dir, self.first_step) if self.collective.rank == 0 else None
        self._interval = _Interval()

    def train(self, stream: Iterable[StepCrops], save: SaveCheckpoint) -> bool:
        """Train to the end of the run, or until asked to stop; give whether the end was reached.

        Raises:
            DataError: if the stream gives other crops than the plan says.
            DivergedError: if the run has failed in a way that no more steps will mend.
        """
        training = self.config.training
        started = time.monotonic()
        done = self.first_step
        for crops in stream:
            batches = self._batches(crops, expected_step=done)
            # Only the first worker looks; the step tells the others, so that all stop after the same one.
            is_asked_to_stop = self.collective.rank == 0 and self.run.stop_path.exists()
            result = self.stepper.run(crops.step, batches, is_asked_to_stop=is_asked_to_stop)
            done = crops.step + 1
            self._interval.add(result)
            is_last = done == training.max_steps
            is_saved = is_last or result.is_stop_wanted or done % training.checkpoint_every_steps == 0
            # Also before a checkpoint: a resume begins a new line, so the curve has no seam.
            if is_saved or done % training.log_every_steps == 0:
                self._write_scalars(done, time.monotonic() - started)
            if is_saved:
                save(done, lambda directory, step=done: self._write_checkpoint(directory, step))
            if is_last or result.is_stop_wanted:
                break
        if self._log:
            self._log.close()
        return done == training.max_steps

    def _batches(self, crops: StepCrops, *, expected_step: int) -> list[PretrainBatch]:
        """The step's micro-batches, after checking that they are the ones the plan says."""
        micro_batches = self.stepper.layout.micro_batches(expected_step, self.collective.rank)
        planned = [position for positions in micro_batches for position in positions]
        if crops.step != expected_step or list(crops.positions) != planned:
            raise DataError(
                f"worker {self.collective.rank} expected step {expected_step} with positions {planned[:4]}... but received "
                f"step {crops.step} with {list(crops.positions)[:4]}...; run the same command again"
            )
        batches, first = [], 0
        for positions in micro_batches:
            rows = slice(first, first + len(positions))
            batches.append(make_batch(crops.crops, rows, positions, self.config, self.device))
            first = rows.stop
        return batches

    def _write_scalars(self, done: int, elapsed_s: float) -> None:
        summary = self.stepper.model.objective.summarize(self.stepper.statistics.drain(self.collective))
        if self._log:
            audio_s, audio_s_before = (self.stepper.layout.audio_s(step) for step in (done, self.first_step))
            scalars = {
                **self._interval.scalars(),
                **summary,
                **({"pretrain/label_entropy": self.run.label_entropy} if self.run.num_labels else {}),
                **({"optim/loss_scale": self.stepper.loss_scale.value} if self.stepper.loss_scale else {}),
                "data/audio_hours": audio_s / 3600,
                "data/audio_s_per_s": (audio_s - audio_s_before) / elapsed_s,
                "sys/rss_gib": psutil.Process().memory_info().rss / 2**30,
                "sys/elapsed_s": self._log.elapsed_s + elapsed_s,
            }
            self._log.write(done, scalars)
        self._interval = _Interval()
        self.stepper.model.objective.check(summary, done)

    def _write_checkpoint(self, directory: Path, step: int) -> None:
        write_checkpoint(directory, self.stepper, step=step, config=self.config, provenance=self.run.provenance)


class _Interval:
    """Averages what steps give between two logs."""

    def __init__(self) -> None:
        self._results: list[StepResult] = []

    def add(self, result: StepResult) -> None:
        self._results.append(result)

    def scalars(self) -> dict[str, float]:
        taken = [result for result in self._results if not result.is_skipped]
        return {
            "pretrain/loss": _mean([result.loss for result in taken]),
            "pretrain/grad_norm": _mean([result.grad_norm for result in taken]),
            "pretrain/skipped_steps": float(len(self._results) - len(taken)),
            "optim/lr": self._results[-1].lr,
        }


def _mean(values: Sequence[float]) -> float:
    """NaN if there are none: a stretch of skipped steps has no loss, least of all 0."""
    return sum(values) / len(values) if values else math.nan
