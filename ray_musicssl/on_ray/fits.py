"""Fitting probes as Ray tasks: the second half of `probe`.

Conventions:
    A fit is one encoder, one task, one seed, one rate, and all layers or one. It does not know what is fitted beside it.
    Small fits of the same features share a Ray task, and so one reading of them; how many follows from their size alone.
    A task says how much memory it needs, so that no more run on a node than it can hold.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.on_ray.extract import FeatureSet
from ray_musicssl.on_ray.room import memory_to_ask_for
from ray_musicssl.on_ray.session import run_tasks
from ray_musicssl.probing.details import details_of
from ray_musicssl.probing.fit import fit_probe
from ray_musicssl.probing.loading import LoadedData, load_splits
from ray_musicssl.probing.results import FitScore
from ray_musicssl.probing.sources import Source
from ray_musicssl.probing.store import Places
from ray_musicssl.progress import progress
from ray_musicssl.tasks.base import EnsembleTask, Task, TaskData
from ray_musicssl.tasks.listing import make_task

WORKER_BYTES = 820_000_000  # of a task that fits probes, beside its features; measured at the size of MagnaTagATune
MAX_FITS = 8  # in one Ray task: seconds of work
FITTED_BYTES = 16_000_000  # so much of features, added up over its fits, is a small Ray task
MEAN_BYTES = 4  # of a value averaged over windows: float32


@dataclass(frozen=True, kw_only=True)
class Job:
    """One encoder on one task."""

    features: FeatureSet
    out_dir: Path
    task: str
    data: TaskData
    data_hash: str
    config: ProbeConfig  # with the pooling and the statistics that it has in the end

    @property
    def source(self) -> Source:
        """The encoder."""
        return self.features.source

    @property
    def memory_bytes(self) -> int:
        """About what a task needs that fits its probes: features as they are on disk, or a mean a track, and itself."""
        if self.config.pooling != "embeddings":
            return self.features.size_bytes + WORKER_BYTES
        num_tracks = len({example.track for example in self.data.examples})
        return num_tracks * self.features.values_a_vector * MEAN_BYTES + WORKER_BYTES


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One fit of a job."""

    seed: int
    lr: float
    layer: int | None = None  # None: all, in a weighted sum
    has_details: bool = False  # give what pictures are made of, too


@dataclass(frozen=True, kw_only=True)
class _Share:
    """One Ray task: what it needs of a job, and which fits."""

    task: str
    data: TaskData
    places: Places
    config: ProbeConfig
    frame_rate: float
    fits: Sequence[Fit]


def run_fits(wanted: Sequence[tuple[Job, Sequence[Fit]]], *, name: str) -> Iterator[tuple[int, list[FitScore]]]:
    """Fit everything, inside `session()`; give `(index into wanted, scores)` when a job's last fit ends.

    The scores are in the order of the job's fits; which job comes first depends on the workers.

    Args:
        wanted: jobs and their fits.
        name: what the progress bar calls it.
    """
    shares: list[_Share] = []
    owners: list[int] = []
    # Beats first: they take longest.
    for index in sorted(range(len(wanted)), key=lambda index: wanted[index][0].features.pool is not None):
        job, fits = wanted[index]
        size = max(1, min(MAX_FITS, FITTED_BYTES // max(1, job.features.size_bytes)))
        kept = job.features.places()
        for begin in range(0, len(fits), size):
            shares.append(
                _Share(
                    task=job.task,
                    data=job.data,
                    places=kept,
                    config=job.config,
                    frame_rate=job.source.frame_rate,
                    fits=fits[begin : begin + size],
                )
            )
            owners.append(index)
    found: dict[int, list[FitScore]] = {index: [] for index in owners}
    with progress(name, sum(len(share.fits) for share in shares), "fits") as meter:
        for number, scores in run_tasks(
            _fit_on_worker, shares, memory_bytes=_needs([wanted[index][0] for index in owners])
        ):
            index = owners[number]
            job, fits = wanted[index]
            found[index] += scores
            meter.advance(len(scores), note=f"{job.source.name} {job.task}")
            if len(found[index]) == len(fits):
                places = {(fit.lr, fit.seed, fit.layer): place for place, fit in enumerate(fits)}
                yield index, sorted(found.pop(index), key=lambda score: places[score.lr, score.seed, score.layer])


def _needs(jobs: Sequence[Job]) -> list[int]:
    """What each job's tasks ask for of their node's memory, in bytes."""
    distinct = {id(job): job for job in jobs}
    asked = {
        key: memory_to_ask_for(job.memory_bytes, f"fitting {job.task} on {job.source.name}")
        for key, job in distinct.items()
    }
    return [asked[id(job)] for job in jobs]


def _fit_on_worker(share: _Share) -> list[FitScore]:
    torch.set_num_threads(1)
    task = make_task(share.task, share.config)
    averages = share.config.pooling == "embeddings"
    loaded = load_splits(share.data, share.places, task.kind, averages_windows=averages)
    return [_fit(task, share, fit, loaded) for fit in share.fits]


def _fit(task: Task, share: _Share, fit: Fit, loaded: LoadedData) -> FitScore:
    first = 1 if share.config.layers == "transformer" else 0  # layer 0 is the output of the convolutions
    result = fit_probe(
        task,
        loaded.layers(slice(first, None) if fit.layer is None else slice(fit.layer, fit.layer + 1)),
        share.config.model_copy(update={"lr": fit.lr}),
        num_outputs=len(share.data.classes),
        seed=fit.seed,
        frame_rate=share.frame_rate,
    )
    return FitScore(
        seed=fit.seed,
        lr=fit.lr,
        layer=fit.layer,
        valid=result.valid,
        test=result.test,
        layer_weights=np.pad(result.layer_weights, (first if fit.layer is None else 0, 0)),
        ensemble=result.task.rule if isinstance(result.task, EnsembleTask) else None,
        used=loaded.used,
        failed=loaded.failed,
        details=details_of(result.task, share.data.classes, result.test_predictions) if fit.has_details else {},
    )
