"""The pretrain stage: TorchTrainer workers fed by the plan's stream, resumable at any moment.

Conventions:
    The run directory is the run: the same command on it goes on from the newest sound checkpoint, after a crash of a worker,
    of the driver or of the machine. Another configuration or other data on it is refused.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import train
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from ray_musicssl.audio.frames import samples_to_seconds
from ray_musicssl.audio.shard import Shards
from ray_musicssl.clustering.label_set import LabelSet
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import DivergedError
from ray_musicssl.on_ray.batches import StreamSpec, in_order, make_dataset, read_here, received
from ray_musicssl.on_ray.session import session
from ray_musicssl.probing.hidden_targets import resolve
from ray_musicssl.run_dir import RunDir, checkpoint_name, done_with, locked, mark_done
from ray_musicssl.training.checkpoint import Checkpoint, newest_checkpoint
from ray_musicssl.training.loop import Run, SaveCheckpoint, Worker
from ray_musicssl.training.plan import SamplePlan
from ray_musicssl.training.reader import LabelSource, StepCrops
from ray_musicssl.training.run_identity import REMEDY, check_labels, claim, remove_run
from ray_musicssl.training.start import choose_start
from ray_musicssl.training.supervise import leave_failure, supervise

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
        DataError: if the labels do not fit the run, or no clip is long enough.
        DivergedError: if training failed in a way that no more steps will mend.
        StoppedError: if it was stopped on request (SIGTERM, Ctrl-C); the same command goes on.
    """
    config = resolve(config)
    check_labels(config, labels)
    provenance: dict[str, Any] = {
        "shards": shards.content_hash,
        "labels": [label_set.codebook_hash for label_set in labels],
    }
    with locked(run_dir.path):
        if fresh:
            remove_run(run_dir)
        start = choose_start(config, run_dir)
        if start:
            provenance["init_from"] = start.content_hash
        fingerprint = claim(run_dir, config, provenance)
        if start:
            start.keep(run_dir)
        checkpoint = newest_checkpoint(run_dir.checkpoints_dir)
        is_done = done_with(run_dir.path, "pretrain", fingerprint=fingerprint, remedy=REMEDY) is not None
        if is_done and checkpoint and checkpoint.step == config.training.max_steps:
            return checkpoint
        job = _make_job(config, shards, run_dir, labels, provenance)
        supervise(job.run, lambda: _fit_here(job) if config.scaling.num_workers == 0 else _fit_on_ray(job))
        checkpoint = newest_checkpoint(run_dir.checkpoints_dir)
        assert checkpoint is not None, "a finished run has a checkpoint"
        facts = {"step": checkpoint.step, "checkpoint": checkpoint.path.name, "provenance": provenance}
        mark_done(run_dir.path, "pretrain", fingerprint=fingerprint, facts=facts)
    return checkpoint


def _make_job(
    config: PretrainConfig, shards: Shards, run_dir: RunDir, labels: Sequence[LabelSet], provenance: dict[str, Any]
) -> _Job:
    sources = [LabelSource(label_set.path.resolve(), label_set.frame_rate) for label_set in labels]
    spec = StreamSpec.of(config, shards.path.resolve(), sources, config.scaling.num_workers)
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
    keep = job.run.config.training.keep_checkpoints

    def save(step: int, write: Callable[[Path], None]) -> None:
        write(directory / checkpoint_name(step))
        for old in sorted(directory.glob("step-*"))[:-keep]:
            shutil.rmtree(old)

    _train(job, lambda first_step: read_here(job.spec, first_step), save, torch.device("cpu"))


def _fit_on_ray(job: _Job) -> None:
    config = job.run.config
    scaling = config.scaling
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job},
        torch_config=TorchConfig(backend="nccl" if scaling.use_gpu else "gloo"),
        scaling_config=train.ScalingConfig(
            num_workers=scaling.num_workers,
            use_gpu=scaling.use_gpu,
            # Half a logical CPU a thread leaves the readers of the stream some room on a small machine.
            resources_per_worker={"CPU": 0.5 * scaling.threads_per_worker, **({"GPU": 1} if scaling.use_gpu else {})},
        ),
        run_config=train.RunConfig(
            name=job.run.run_dir.checkpoints_dir.name,
            storage_path=str(job.run.run_dir.path),
            failure_config=train.FailureConfig(max_failures=config.training.max_failures),
            checkpoint_config=train.CheckpointConfig(num_to_keep=config.training.keep_checkpoints),
        ),
        # Called anew whenever workers start, so the stream begins where the newest checkpoint ends.
        datasets={"train": lambda: make_dataset(job.spec, _first_step(job))},
        dataset_config=train.DataConfig(execution_options=in_order()),
    )
    with session():
        trainer.fit()


def _first_step(job: _Job) -> int:
    checkpoint = newest_checkpoint(job.run.run_dir.checkpoints_dir)
    # At least one step is streamed: a run whose last step is saved needs none, but Ray needs a dataset.
    return min(checkpoint.step if checkpoint else 0, job.spec.max_steps - 1)


def _worker(settings: dict[str, Any]) -> None:
    """The train function of one Ray Train worker."""
    job: _Job = settings["job"]
    rank = train.get_context().get_world_rank()

    def save(step: int, write: Callable[[Path], None]) -> None:
        metrics, name = {"step": step}, checkpoint_name(step)
        if rank != 0:
            train.report(metrics, checkpoint_dir_name=name)
            return
        with tempfile.TemporaryDirectory(dir=job.run.run_dir.path, prefix=".checkpoint-") as temporary:
            write(Path(temporary))
            train.report(metrics, checkpoint=train.Checkpoint.from_directory(temporary), checkpoint_dir_name=name)

    device = get_device() if job.run.config.scaling.use_gpu else torch.device("cpu")
    assert isinstance(device, torch.device), "one device a worker"
    shard = train.get_dataset_shard("train")
    assert shard is not None, "the trainer was given this dataset"
    try:
        _train(job, lambda _first_step: received(shard, job.spec), save, device)
    except DivergedError as error:
        # Every worker comes to the same verdict; trying again would too, so this is no failure for Ray to retry.
        if rank == 0:
            leave_failure(job.run, error)


def _train(job: _Job, stream: Callable[[int], Iterable[StepCrops]], save: SaveCheckpoint, device: torch.device) -> None:
    torch.set_num_threads(job.run.config.scaling.threads_per_worker)
    checkpoint = newest_checkpoint(job.run.run_dir.checkpoints_dir)
    worker = Worker(job.run, device=device, checkpoint=checkpoint)
    if worker.first_step < job.spec.max_steps:
        worker.train(stream(worker.first_step), save)
