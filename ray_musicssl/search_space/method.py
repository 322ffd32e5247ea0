"""Whether the way of searching fits what is searched: samples, seeds, Optuna, early stopping."""

from collections.abc import Sequence

from ray_musicssl.search_space.axis import CONTINUOUS, Axis
from ray_musicssl.search_space.document import Document
from ray_musicssl.search_space.setting import Setting
from ray_musicssl.search_space.sheet import SchedulerConfig, Sheet
from ray_musicssl.search_space.trial import Trial
from ray_musicssl.search_space.variant import Variant

_OF_TARGETS = ("feature.", "clustering.", "joint_features")


def check_method(
    document: Document, sheet: Sheet, axes: Sequence[Axis], variants: Sequence[Variant], words: Sequence[Setting]
) -> None:
    """Check `samples`, `seeds` and `search` beside axes and variants.

    Raises:
        ConfigError: with file and line, if one has no effect or cannot be beside the others.
    """
    _check_samples(document, sheet, axes)
    _check_seeds(document, sheet, axes, variants, words)
    if sheet.search == "optuna":
        _check_optuna(document, sheet, axes, variants)


def _check_samples(document: Document, sheet: Sheet, axes: Sequence[Axis]) -> None:
    drawn = [axis for axis in axes if not axis.is_grid]
    if drawn and sheet.samples is None:
        raise document.error(
            f"{drawn[0].key} is drawn ({drawn[0].kind}), but how often? give samples: 8", *drawn[0].place
        )
    if sheet.samples is not None and not drawn:
        raise document.error(f"samples={sheet.samples} has no effect: no axis is drawn; drop it", "samples")
    if "seed" in document.values and not drawn:
        raise document.error(
            f"seed={sheet.seed} has no effect: no axis is drawn; drop it, or give seeds: [{sheet.seed}] to pre-train with",
            "seed",
        )


def _check_seeds(
    document: Document, sheet: Sheet, axes: Sequence[Axis], variants: Sequence[Variant], words: Sequence[Setting]
) -> None:
    for index, seed in enumerate(sheet.seeds):
        if seed in sheet.seeds[:index]:
            raise document.error(f"the seed {seed} is there twice; leave one out", "seeds", index)
    if not sheet.seeds:
        return
    settings = [*words, *(setting for variant in variants for setting in variant.settings)]
    places = [s.place or ("seeds",) for s in settings if s.key == "training.seed"]
    places += [axis.place for axis in axes if axis.key == "training.seed"]
    if places:
        raise document.error("training.seed has no effect beside seeds; drop one", *places[0])


def _check_optuna(document: Document, sheet: Sheet, axes: Sequence[Axis], variants: Sequence[Variant]) -> None:
    for axis in axes:
        if axis.kind not in CONTINUOUS:
            raise document.error(
                f"search: optuna is for continuous axes ({', '.join(CONTINUOUS)}), but {axis.key} is a {axis.kind}; use "
                f"search: random",
                *axis.place,
            )
        if axis.key.startswith(_OF_TARGETS):
            raise document.error(
                f"search: optuna cannot search {axis.key}: every value would need labels of its own; use search: random",
                *axis.place,
            )
    if sheet.skip_impossible:
        raise document.error("skip_impossible has no effect with search: optuna; drop it", "skip_impossible")
    if not axes:
        raise document.error("search: optuna has no axis to search; use search: random", "search")
    if len(variants) > 1 or len(sheet.seeds) > 1:
        raise document.error(
            f"search: optuna looks for the best point of one variant and one seed, not of {len(variants)} variants and "
            f"{len(sheet.seeds) or 1} seeds; a file each, or search: random",
            "search",
        )


def check_scheduler(document: Document, scheduler: SchedulerConfig, trials: Sequence[Trial]) -> None:
    """Check that what trials are stopped by compares between them, and that no other trial waits for a stopped one.

    Raises:
        ConfigError: with file and line, if not.
    """
    if scheduler.name == "none":
        return
    remedy = "use scheduler: none"
    waiting = next((trial for trial in trials if trial.after), None)
    if waiting:
        raise document.error(
            f"scheduler: {scheduler.name} could stop {waiting.after}, for whose checkpoint {waiting.name} waits; {remedy}",
            "scheduler",
        )
    first = trials[0]
    other = next((trial for trial in trials if _loss_of(trial) != _loss_of(first)), None)
    if other:
        raise document.error(
            f"scheduler: {scheduler.name} compares trials by {scheduler.watch}, but those of {first.name} and {other.name} "
            f"are of different objectives or targets; {remedy}",
            "scheduler",
        )
    if scheduler.watch == "pretrain/masked_accuracy" and not first.config.uses_labels:
        raise document.error(f"scheduler.watch: {first.preset} has no labels to be accurate about", "scheduler")


def _loss_of(trial: Trial) -> list[object]:
    """What a loss is a loss of: objective, targets, and which frames are hidden."""
    config = trial.config
    masking = (config.masking.mask_prob, config.masking.mask_length)
    return [
        config.objective,
        masking,
        [(n.kmeans.feature.identity, n.kmeans.clustering.identity) for n in trial.labels],
    ]
