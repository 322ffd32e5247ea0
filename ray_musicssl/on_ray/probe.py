"""The `probe` stage: frozen features of every encoder on every task, a head fitted on them, a score file each.

Conventions:
    Features are kept in `<cache>/<encoder hash>/<task>-<audio hash>/chunk-00000.safetensors` and found again.
    Chunks follow from the order of the examples alone, so files and scores do not depend on the number of workers.
    Seed k of a probe is `config.seed + k`.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import ray
import torch

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import ConfigError, DataError
from ray_musicssl.on_ray.extract import FeatureSet, extract
from ray_musicssl.on_ray.session import run_tasks, session
from ray_musicssl.probing.features import audio_identity, load_chunk, plan_chunks
from ray_musicssl.probing.fit import ProbeSplit, fit_probe
from ray_musicssl.probing.results import SeedScore, TaskScore, details_of, read_score, score_path, spread, write_score
from ray_musicssl.probing.sources import Source, describe
from ray_musicssl.progress import progress
from ray_musicssl.run_dir import hash_of, write_json
from ray_musicssl.tasks.base import SPLITS, TASKS, Split, Task, TaskData

logger = logging.getLogger(__name__)

WORKER_BYTES = 500_000_000  # of a task that fits a probe, beside its features


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One encoder on one task."""

    features: FeatureSet
    out_dir: Path
    task: str
    data: TaskData
    data_hash: str
    config: ProbeConfig

    @property
    def source(self) -> Source:
        return self.features.source


@dataclass(frozen=True, kw_only=True)
class _SeedItem:
    job: _Job
    seed: int
    has_details: bool


def probe(
    specs: Sequence[str],
    data_dir: Path,
    tasks: Sequence[str],
    out_dirs: Sequence[Path],
    config: ProbeConfig,
    *,
    cache_dir: Path,
    strict: bool = False,
) -> list[TaskScore]:
    """Score every encoder on every task; write `scores/<task>.json` into each encoder's directory as it is ready.

    What an earlier call finished (features, and scores of the same encoder, data and recipe) is not done again.

    Args:
        specs: what to probe, each as `open_features` takes it.
        data_dir: folder of the data sets, or the one data set.
        tasks: names of the tasks.
        out_dirs: a directory for each of `specs`.
        config: the recipe.
        cache_dir: where features are kept.
        strict: refuse to go on if anything in a data set cannot be used; nothing is then fitted.

    Returns:
        The scores, by encoder and then by task, in the order given.

    Raises:
        ConfigError: if a task or encoder is not known, or there is not one directory for each encoder.
        DataError: if a data set is not found, a split has nothing usable, or `strict` and something is skipped.
        EnvironmentFaultError: if the disk cannot take the features.
    """
    if len(specs) != len(out_dirs):
        raise ConfigError(f"{len(specs)} encoders but {len(out_dirs)} directories for their scores; give one for each")
    data = {name: _read(name, data_dir, cache_dir, strict=strict) for name in dict.fromkeys(tasks)}
    for note in dict.fromkeys(note for found in data.values() for note in found.notes):
        logger.info(note)  # the scores carry it too
    sources = [(describe(spec), Path(out_dir).resolve()) for spec, out_dir in zip(specs, out_dirs, strict=True)]
    jobs = [
        _plan(source, name, data[name], out_dir=out_dir, config=config, cache_dir=cache_dir.resolve())
        for source, out_dir in sources
        for name in data
    ]
    scores = {index: score for index, job in enumerate(jobs) if (score := _finished(job))}
    for index, score in scores.items():  # what the reader left out has been told, or refused, already
        _tell_failed(jobs[index], Counter(score.skipped) - Counter(jobs[index].data.reasons()), strict=strict)
    left = [index for index in range(len(jobs)) if index not in scores]
    if left:
        with session():
            extract([jobs[index].features for index in left], cache_dir)
            for index in left:
                _tell_failed(jobs[index], jobs[index].features.failed(), strict=strict)
            fitted = _fit([jobs[index] for index in left])
        scores |= dict(zip(left, fitted, strict=True))
    return [scores[index] for index in range(len(jobs))]


def _read(name: str, data_dir: Path, cache_dir: Path, *, strict: bool) -> TaskData:
    """Read a task's data and say what is left out of it."""
    task: Task = TASKS.load(name)()
    data = task.read(data_dir)
    if data.skipped:
        report_path = cache_dir / "skipped" / f"{name}.json"
        write_json(report_path, [{"dataset": task.dataset, **asdict(item)} for item in data.skipped])
        message = f"{name}: left out {_in_words(data.reasons())}; listed in {report_path}"
        if strict:
            raise DataError(f"{message}; mend the data set, or go on without them by leaving out --strict")
        logger.warning(message)
    return data


def _in_words(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))


def _plan(source: Source, name: str, data: TaskData, *, out_dir: Path, config: ProbeConfig, cache_dir: Path) -> _Job:
    audio = audio_identity(data.examples)
    answers = [[example.id, example.track, example.split, example.target] for example in data.examples]
    features = FeatureSet(
        source=source,
        pool=None if TASKS.load(name)().kind == "beats" else "mean",
        chunks=plan_chunks(data.examples, cache_dir / source.content_hash / f"{name}-{hash_of(audio)}"),
    )
    return _Job(
        features=features,
        out_dir=out_dir,
        task=name,
        data=data,
        data_hash=hash_of([audio, answers, list(data.classes)]),
        config=config,
    )


def _finished(job: _Job) -> TaskScore | None:
    """The score of an earlier call, if it would come out the same again."""
    path = score_path(job.out_dir, job.task)
    if not path.exists():
        return None
    score = read_score(path)
    same = score.is_for(
        encoder_hash=job.source.content_hash, data_hash=job.data_hash, config_hash=_config_hash(job.config)
    )
    return score if same else None


def _config_hash(config: ProbeConfig) -> str:
    return hash_of(config.model_dump(mode="json"))


def _tell_failed(job: _Job, failed: Counter[str], *, strict: bool) -> None:
    """Warn of examples that fell away while features were extracted, or refuse to go on without them."""
    if not failed:
        return
    message = f"{job.task}: {_in_words(failed)} found while extracting features of {job.source.name}"
    if strict:
        raise DataError(f"{message}; mend the files, or go on without them by leaving out --strict")
    logger.warning(message)


def _fit(jobs: Sequence[_Job]) -> list[TaskScore]:
    """Fit every seed of every job; each job's score is written when its last seed ends."""
    items = [
        _SeedItem(job=job, seed=job.config.seed + k, has_details=k == 0)
        for job in sorted(jobs, key=lambda job: job.features.pool is not None)  # beats first: they take longest
        for k in range(job.config.num_seeds)
    ]
    results: dict[int, list[SeedScore]] = {id(job): [] for job in jobs}
    scores: dict[int, TaskScore] = {}
    with progress("probe", len(items), "fits") as meter:
        for item, result in _run_by_size(items):
            job = item.job
            results[id(job)].append(result)
            meter.advance(note=f"{job.source.name} {job.task}")
            if len(results[id(job)]) == job.config.num_seeds:
                scores[id(job)] = _score(job, results[id(job)])
                write_score(job.out_dir, scores[id(job)])
    return [scores[id(job)] for job in jobs]


def _run_by_size(items: Sequence[_SeedItem]) -> Iterator[tuple[_SeedItem, SeedScore]]:
    """Fit items as Ray tasks, those together that need equally many CPUs."""
    groups: dict[int, list[_SeedItem]] = {}
    for item in items:
        groups.setdefault(_num_cpus(item.job.features.size_bytes), []).append(item)
    for num_cpus, group in sorted(groups.items()):
        for index, result in run_tasks(_fit_on_worker, group, num_cpus=num_cpus):
            yield group[index], result


def _num_cpus(size_bytes: int) -> int:
    """As many CPUs as have the memory for a task with these features; all of the smallest node's if none has enough."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    node = min(nodes, key=lambda resources: resources["memory"])
    needed = math.ceil((size_bytes + WORKER_BYTES) / (node["memory"] / node["CPU"]))
    return max(1, min(needed, int(node["CPU"])))


def _fit_on_worker(item: _SeedItem) -> SeedScore:
    torch.set_num_threads(1)
    job = item.job
    task: Task = TASKS.load(job.task)()
    chunks = [load_chunk(chunk.path) for chunk in job.features.chunks]
    features = {name: tensor for chunk in chunks for name, tensor in chunk.features.items()}
    failed = {name: fault for chunk in chunks for name, fault in chunk.failed.items()}
    data = replace(job.data, examples=[example for example in job.data.examples if example.id in features])
    splits: dict[Split, ProbeSplit] = {}
    for split in SPLITS:
        examples = data.split(split)
        tensors = [features[example.id] for example in examples]
        splits[split] = ProbeSplit(
            examples=examples, features=torch.stack(tensors) if job.features.pool and tensors else tensors
        )
    fit = fit_probe(
        task,
        splits,
        job.config,
        num_outputs=len(data.classes),
        seed=item.seed,
        frame_rate=job.source.frame_rate,
    )
    return SeedScore(
        seed=item.seed,
        valid=fit.valid,
        test=fit.test,
        layer_weights=fit.layer_weights,
        used=data.used(),
        failed=failed,
        details=details_of(task, data.classes, fit.test_predictions) if item.has_details else {},
    )


def _score(job: _Job, results: Sequence[SeedScore]) -> TaskScore:
    """Bring the seeds of a job together; they may have come in any order."""
    runs = sorted(results, key=lambda result: result.seed)
    return TaskScore(
        task=job.task,
        dataset=TASKS.load(job.task)().dataset,
        model=job.source.name,
        encoder_hash=job.source.content_hash,
        data_hash=job.data_hash,
        config_hash=_config_hash(job.config),
        metrics=spread([run.test for run in runs]),
        valid=spread([run.valid for run in runs]),
        used=runs[0].used,
        expected=job.data.expected,
        skipped=dict(Counter(job.data.reasons()) + Counter(runs[0].failed.values())),
        layer_weights=np.mean([run.layer_weights for run in runs], axis=0).tolist(),
        layers=job.source.num_layers,
        notes=list(job.data.notes),
        details=runs[0].details,
    )
