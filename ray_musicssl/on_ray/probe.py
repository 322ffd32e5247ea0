"""The `probe` stage: frozen features of every encoder on every task, a head fitted on them, a score file each.

Conventions:
    Features are kept in `<cache>/<encoder hash>/<statistics or frames>/<hash of what is heard>.safetensors` and found again,
    stretch of audio by stretch, by every task that hears it.
    What is kept of a stretch follows from it alone, so scores do not depend on the number of workers or on other tasks.
    Seed k of a probe is `config.seed + k`.
    Probes of single layers take the learning rate of the weighted sum's score.
    A score names the features that it saw by their hash; once others are in their place, it is fitted again.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray.extract import FeatureSet, extract
from ray_musicssl.on_ray.fits import Fit, Job, run_fits
from ray_musicssl.on_ray.session import session
from ray_musicssl.probing.features import Pool
from ray_musicssl.probing.reading import ReadTask, in_words, read_task
from ray_musicssl.probing.recipe import idle_settings, pool_of, recipe_hash, resolved
from ray_musicssl.probing.results import (
    FitScore,
    TaskScore,
    best_rate,
    read_score,
    score_path,
    spread,
    write_score,
)
from ray_musicssl.probing.sources import Source, check_homes, describe
from ray_musicssl.probing.store import FeatureStore
from ray_musicssl.tasks.base import TASKS, Task
from ray_musicssl.tasks.listing import make_task

logger = logging.getLogger(__name__)


def probe(
    specs: Sequence[str],
    data_dir: Path,
    tasks: Sequence[str],
    out_dirs: Sequence[Path],
    config: ProbeConfig,
    *,
    cache_dir: Path,
    split_lists: Path | None = None,
    by_layer: bool = False,
    fresh: bool = False,
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
        split_lists: folder of split lists that a data set lacks.
        by_layer: probe each single layer too; a score that lacks only that keeps its other numbers.
        fresh: first remove all features kept of these encoders, and these scores; an ordinary call goes on where one like
            this was killed.
        strict: refuse to go on if anything in a data set cannot be used; nothing is then fitted.

    Returns:
        The scores, by encoder and then by task, in the order given.

    Raises:
        ConfigError: if a task or encoder is not known, or there is not one directory for each encoder alone.
        DataError: if a data set is not found, a split has nothing usable or nothing that its metric can score, or `strict`
            and something is skipped.
        EnvironmentFaultError: if the disk cannot take the features.
    """
    check_homes(specs, out_dirs)
    for message in idle_settings(config, tasks, split_lists):
        logger.warning(message)
    cache_dir = cache_dir.resolve()
    read = {
        name: read_task(make_task(name, config, split_lists=split_lists), data_dir, cache_dir, strict=strict)
        for name in dict.fromkeys(tasks)
    }
    for note in dict.fromkeys(note for found in read.values() for note in found.data.notes):
        logger.info(note)  # the scores carry it too
    sources = [(describe(spec), Path(out_dir).resolve()) for spec, out_dir in zip(specs, out_dirs, strict=True)]
    store_of = cache(lambda encoder_hash, pool: FeatureStore(cache_dir / encoder_hash, pool))
    jobs = [
        _plan(source, name, found, out_dir=out_dir, config=config, store_of=store_of)
        for source, out_dir in sources
        for name, found in read.items()
    ]
    if fresh:
        _forget(jobs)
    scores = {index: score for index, job in enumerate(jobs) if (score := _finished(job))}
    for index, score in scores.items():  # what the reader left out has been told, or refused, already
        _tell_failed(jobs[index], Counter(score.skipped) - Counter(jobs[index].data.reasons()), strict=strict)
    left = [index for index in range(len(jobs)) if index not in scores]
    flat = [index for index in scores if by_layer and len(scores[index].by_layer) != jobs[index].source.num_layers]
    if left or flat:
        with session():
            extract([jobs[index].features for index in (*left, *flat)], cache_dir)
            for index in [index for index in flat if _finished(jobs[index]) is None]:  # features came back, and others
                flat.remove(index)
                left.append(index)
            for index in left:
                _tell_failed(jobs[index], jobs[index].features.failed(), strict=strict)
            scores |= _fit_sums(jobs, left)
            scores |= _fit_layers(jobs, {index: scores[index] for index in (*left, *flat)}) if by_layer else {}
    return [scores[index] for index in range(len(jobs))]


def _plan(
    source: Source,
    name: str,
    read: ReadTask,
    *,
    out_dir: Path,
    config: ProbeConfig,
    store_of: Callable[[str, Pool], FeatureStore],
) -> Job:
    task: Task = TASKS.load(name)()
    store = store_of(source.content_hash, pool_of(config, task, source))
    return Job(
        features=FeatureSet(source=source, store=store, examples=read.data.examples, keys=read.keys),
        out_dir=out_dir,
        task=name,
        data=read.data,
        data_hash=read.data_hash,
        config=resolved(config, task, source),
    )


def _forget(jobs: Sequence[Job]) -> None:
    """Remove scores, then features: what is removed is made again, whenever this command ends.

    All features of an encoder go, as tasks share them: what makes new ones of this task may make others of all.
    """
    for job in jobs:
        _path(job).unlink(missing_ok=True)
    for store in {id(job.features.store): job.features.store for job in jobs}.values():
        store.clear()


def _finished(job: Job) -> TaskScore | None:
    """The score of an earlier call, if it would come out the same again; what it says beside numbers is brought up to date."""
    path = _path(job)
    if not path.exists():
        return None
    score = read_score(path)
    same = score.is_for(
        encoder_hash=job.source.content_hash,
        data_hash=job.data_hash,
        config_hash=recipe_hash(job.config),
        features_hash=job.features.content_hash(),
    )
    if not same:
        return None
    current = replace(
        score,
        model=job.source.name,
        source=job.source.origin,
        official=job.data.official,
        is_part=job.data.is_part,
    )
    if current != score:
        write_score(job.out_dir, current)
    return current


def _path(job: Job) -> Path:
    return score_path(job.out_dir, job.task, job.features.pool, job.source.origin)


def _tell_failed(job: Job, failed: Counter[str], *, strict: bool) -> None:
    """Warn of examples that fell away while features were extracted, or refuse to go on without them."""
    if not failed:
        return
    message = f"{job.task}: {in_words(failed)} found while extracting features of {job.source.name}"
    if strict:
        raise DataError(f"{message}; mend the files, or go on without them by leaving out --strict")
    logger.warning(message)


def _fit_sums(jobs: Sequence[Job], chosen: Sequence[int]) -> dict[int, TaskScore]:
    """Fit the weighted sum of some jobs; each score is written when its last fit ends."""
    wanted = [
        (
            jobs[index],
            [
                Fit(seed=seed, lr=rate, has_details=seed == jobs[index].config.seed)
                for rate in jobs[index].config.rates
                for seed in _seeds(jobs[index].config)
            ],
        )
        for index in chosen
    ]
    scores: dict[int, TaskScore] = {}
    for place, fits in run_fits(wanted, name="probe"):
        index = chosen[place]
        scores[index] = _score(jobs[index], fits)
        write_score(jobs[index].out_dir, scores[index])
    return scores


def _fit_layers(jobs: Sequence[Job], sums: Mapping[int, TaskScore]) -> dict[int, TaskScore]:
    """Add the probes of single layers to scores of weighted sums, and write them again."""
    chosen, wanted = [], []
    scores: dict[int, TaskScore] = {}
    for index, score in sums.items():
        if score.layers == 1:  # the sum of one layer is that layer
            scores[index] = replace(score, by_layer=[score.metrics])
            write_score(jobs[index].out_dir, scores[index])
            continue
        job = jobs[index]
        rate = job.config.lr if score.lr is None else score.lr
        chosen.append(index)
        wanted.append(
            (job, [Fit(seed=s, lr=rate, layer=layer) for layer in range(score.layers) for s in _seeds(job.config)])
        )
    for place, fits in run_fits(wanted, name="layers"):
        index = chosen[place]
        by_layer = [spread([fit.test for fit in fits if fit.layer == layer]) for layer in range(sums[index].layers)]
        scores[index] = replace(sums[index], by_layer=by_layer)
        write_score(jobs[index].out_dir, scores[index])
    return scores


def _recipe_notes(job: Job, runs: Sequence[FitScore]) -> list[str]:
    """What tells a score apart from those of other encoders that were probed in another way."""
    if job.config.key_ensemble == "mean_logits":
        return []
    rules = ", ".join(str(run.ensemble) for run in runs)
    return [f"in the fits of {job.source.name}, the clips of a song agree on its key by {rules}"]


def _seeds(config: ProbeConfig) -> range:
    return range(config.seed, config.seed + config.num_seeds)


def _score(job: Job, fits: Sequence[FitScore]) -> TaskScore:
    """Bring the fits of a job together; of several rates the one that is best on valid is taken."""
    task: Task = TASKS.load(job.task)()
    headline = task.metrics[0]
    by_rate = {rate: [fit for fit in fits if fit.lr == rate] for rate in job.config.rates}
    valid = {rate: [fit.valid for fit in runs] for rate, runs in by_rate.items()}
    has_grid = bool(job.config.lr_grid)
    rate = best_rate(valid, headline)
    runs = by_rate[rate]
    return TaskScore(
        task=job.task,
        dataset=task.dataset,
        model=job.source.name,
        encoder_hash=job.source.content_hash,
        data_hash=job.data_hash,
        config_hash=recipe_hash(job.config),
        metrics=spread([run.test for run in runs]),
        valid=spread(valid[rate]),
        used=runs[0].used,
        expected=job.data.expected,
        skipped=dict(Counter(job.data.reasons()) + Counter(runs[0].failed.values())),
        layer_weights=np.mean([run.layer_weights for run in runs], axis=0).tolist(),
        layers=job.source.num_layers,
        lr=rate if has_grid else None,
        valid_by_lr={f"{lr:g}": spread(scores)[headline] for lr, scores in valid.items()} if has_grid else {},
        statistics=job.features.pool,
        notes=[*job.data.notes, *_recipe_notes(job, runs)],
        details=runs[0].details,
        official=job.data.official,
        is_part=job.data.is_part,
        source=job.source.origin,
        features_hash=job.features.content_hash(),
    )
