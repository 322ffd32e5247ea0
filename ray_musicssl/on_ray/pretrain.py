"""The pretrain stage: TorchTrainer workers fed by the plan's stream, resumable at any moment.

Conventions:
    The run directory is the run: the same command on it goes on from the newest sound checkpoint, after a crash of a worker,
    of the driver or of the machine. Another configuration or other data on it is refused.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import train
from ray.exceptions import RayTaskError
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from ray_musicssl.audio.frames import samples_to_seconds
from ray_musicssl.audio.shard import Shards
from ray_musicssl.clustering.label_set import LabelSet
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import DivergedError, MusicsslError
from ray_musicssl.on_ray.batches import StreamSpec, in_order, make_dataset, read_here, received
from ray_musicssl.on_ray.room import check_room, worker_resources
from ray_musicssl.on_ray.session import session
from ray_musicssl.probing.hidden_targets import resolve
from ray_musicssl.run_dir import RunDir, checkpoint_name, done_with, locked, mark_done
from ray_musicssl.training.checkpoint import Checkpoint, newest_checkpoint
from ray_musicssl.training.kept_checkpoints import keep_newest
from ray_musicssl.training.loop import Run, SaveCheckpoint, Worker
from ray_musicssl.training.plan import SamplePlan
from ray_musicssl.training.reader import StepCrops
from ray_musicssl.training.run_identity import REMEDY, check_labels, claim, record_arithmetic, remove_run
from ray_musicssl.training.start import choose_start
from ray_musicssl.training.supervise import failure_path, leave_failure, supervise

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What every worker is sent."""

    run: Run
    spec: StreamSpec


def pretrain(
    config: PretrainConfig, shards: Shards, run_dir: RunDir, *, labels: Sequence[LabelSet] = (), fresh: bool = False
) -> Checkpoint:
    """Train, or go on training, until `training.max_steps`.

    Args:
        config: the run.
        shards: finished shards.
        run_dir: where everything of the run goes.
        labels: one label set for each of `config.label_configs`, in that order.
        fresh: remove what an earlier run left in `run_dir` first.

    Raises:
        ConfigError: if a target feature is `hidden` and its encoder is not named or lacks the layer, or the weights of
            `config.init_from` are of another shape.
        ResumeRefusedError: if `run_dir` holds a run with another configuration, audio or labels.
        DataError: if the labels do not fit the run, no clip is long enough, or a shard is damaged.
        DivergedError: if training failed in a way that no more steps will mend.
        EnvironmentFaultError: if the machine has no room for the workers, or they were lost more often than the run allows.
        StoppedError: if it was stopped on request (SIGTERM, Ctrl-C); the same command goes on.
    """
    config = resolve(config)
    check_labels(config, labels)
    provenance: dict[str, Any] = {
        "shards": shards.content_hash,
        "labels": [label_set.codebook_hash for label_set in labels],
    }
    with locked(run_dir.path):
        start = choose_start(config, run_dir, fresh=fresh)  # may refuse: before anything is removed
        if fresh:
            remove_run(run_dir)
        if start:
            provenance["init_from"] = start.content_hash
        fingerprint = claim(run_dir, config, provenance)
        if start:
            start.keep(run_dir)
        checkpoint = newest_checkpoint(run_dir.checkpoints_dir)
        is_done = done_with(run_dir.path, "pretrain", fingerprint=fingerprint, remedy=REMEDY) is not None
        if is_done and checkpoint and checkpoint.step == config.training.max_steps:
            return checkpoint
        record_arithmetic(run_dir, config, is_resumed=checkpoint is not None)
        job = _make_job(config, shards, run_dir, labels, provenance)
        if config.scaling.num_workers == 0:
            supervise(job.run, lambda: _fit_here(job))
        else:
            # Ray takes SIGTERM for itself as it starts, and dies of it: the supervisor, who saves first, must come after.
            with session():
                supervise(job.run, lambda: _fit_on_ray(job))
        checkpoint = newest_checkpoint(run_dir.checkpoints_dir)
        assert checkpoint is not None, "a finished run has a checkpoint"
        facts = {"step": checkpoint.step, "checkpoint": checkpoint.path.name, "provenance": provenance}
        mark_done(run_dir.path, "pretrain", fingerprint=fingerprint, facts=facts)
    return checkpoint


def _make_job(
    config: PretrainConfig, shards: Shards, run_dir: RunDir, labels: Sequence[LabelSet], provenance: dict[str, Any]
) -> _Job:
    spec = StreamSpec.of(config, shards, labels, config.scaling.num_workers)
    plan = SamplePlan(shards.manifest(), longest_crop_samples=spec.longest_crop_samples, seed=spec.seed)
    if plan.left_out_clips:
        logger.warning(
            "%d clips (%.0f s) are shorter than the longest crop of %s s and are left out of this run",
            plan.left_out_clips,
            plan.left_out_s,
            samples_to_seconds(spec.longest_crop_samples),
        )
    run = Run(
        config=config,
        run_dir=RunDir(run_dir.path.resolve()),
        num_labels=[label_set.num_clusters for label_set in labels],
        label_entropy=sum(label_set.entropy_nats for label_set in labels),
        provenance=provenance,
    )
    return _Job(run=run, spec=spec)


def _fit_here(job: _Job) -> None:
    """One worker in this process; its checkpoints go straight into the run directory."""
    directory = job.run.run_dir.checkpoints_dir

    def save(step: int, write: Callable[[Path], None]) -> None:
        write(directory / checkpoint_name(step))
        keep_newest(directory, job.run.config.training.keep_checkpoints)

    _train(job, lambda first_step: read_here(job.spec, first_step), save, torch.device("cpu"))


def _fit_on_ray(job: _Job) -> None:
    scaling = job.run.config.scaling
    check_room(scaling)
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if scaling.use_gpu else "gloo"),
        scaling_config=train.ScalingConfig(
            num_workers=scaling.num_workers,
            use_gpu=scaling.use_gpu,
            resources_per_worker=worker_resources(scaling),
        ),
        run_config=train.RunConfig(
            name=job.run.run_dir.checkpoints_dir.name,
            storage_path=str(job.run.run_dir.path),
            failure_config=train.FailureConfig(max_failures=job.run.config.training.max_failures),
        ),
        # Called anew whenever workers start, so the stream begins where the newest checkpoint ends.
        datasets={"train": lambda: make_dataset(job.spec, _first_step(job))},
        dataset_config=train.DataConfig(execution_options=in_order()),
    )
    # Ray refuses to start if its index is half-written or names a checkpoint that is gone; the directories say it all.
    job.run.run_dir.ray_index_path.unlink(missing_ok=True)
    trainer.fit()


def _first_step(job: _Job) -> int:
    checkpoint = newest_checkpoint(job.run.run_dir.checkpoints_dir)
    # At least one step is streamed: a run whose last step is saved needs none, but Ray needs a dataset.
    return min(checkpoint.step if checkpoint else 0, job.spec.max_steps - 1)


def _worker(settings: dict[str, Any]) -> None:
    """The train function of one Ray Train worker."""
    job: _Job = settings["job"]
    if failure_path(job.run).exists():
        return  # started again after an error that would only come back
    rank = train.get_context().get_world_rank()

    def save(step: int, write: Callable[[Path], None]) -> None:
        metrics, name = {"step": step}, checkpoint_name(step)
        if rank != 0:
            train.report(metrics, checkpoint_dir_name=name)
            return
        with tempfile.TemporaryDirectory(dir=job.run.run_dir.path, prefix=".checkpoint-") as temporary:
            write(Path(temporary))
            train.report(metrics, checkpoint=train.Checkpoint.from_directory(temporary), checkpoint_dir_name=name)
        keep_newest(job.run.run_dir.checkpoints_dir, job.run.config.training.keep_checkpoints)

    device = get_device() if job.run.config.scaling.use_gpu else torch.device("cpu")
    assert isinstance(device, torch.device), "one device a worker"
    shard = train.get_dataset_shard("train")
    assert shard is not None, "the trainer was given this dataset"
    try:
        _train(job, lambda _first_step: received(shard, job.spec), save, device)
    except MusicsslError as error:
        leave_failure(job.run, _cause(error))
        # Every worker comes to this verdict and ends. Any other error may be one worker's alone, while the rest wait for it
        # inside a step: only Ray can end those.
        if not isinstance(error, DivergedError):
            raise


def _cause(error: MusicsslError) -> MusicsslError:
    """The error itself; for one that a reader of the stream raised, what Ray wrapped, without the advice it appended."""
    if not isinstance(error, RayTaskError):
        return error
    assert isinstance(error.cause, MusicsslError), "Ray's wrapper is of its cause's type"
    return type(error.cause)(str(error.cause).split("\nFailed to apply UDF")[0])


def _train(job: _Job, stream: Callable[[int], Iterable[StepCrops]], save: SaveCheckpoint, device: torch.device) -> None:
    torch.set_num_threads(job.run.config.scaling.threads_per_worker)
    checkpoint = newest_checkpoint(job.run.run_dir.checkpoints_dir)
    worker = Worker(job.run, device=device, checkpoint=checkpoint)
    if worker.first_step < job.spec.max_steps:
        worker.train(stream(worker.first_step), save)
