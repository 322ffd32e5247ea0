"""The words of a search-space file and their types: a closed vocabulary.

Conventions:
    `preset`, `scale` and `overrides` hold for every trial; a variant's own lie over them, axes over both.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.config.section import Section
from ray_musicssl.errors import ConfigError
from ray_musicssl.registry import nearest
from ray_musicssl.reporting.paper import NINE_TASKS
from ray_musicssl.search_space.document import Document


class SchedulerConfig(Section):
    """Whether trials that do badly are stopped before their end."""

    name: Literal["none", "asha", "median"] = "none"
    """`asha`: of the trials at a milestone the best 1 / `reduction_factor` go on; `median`: those above the median do."""
    watch: Literal["pretrain/loss", "pretrain/masked_accuracy"] = "pretrain/loss"
    """What they are compared by while they train, from `metrics.jsonl`; accuracy is of MusicHuBERT alone."""
    grace_fraction: float = Field(default=0.1, gt=0, le=1)
    """Part of the run's steps that every trial takes."""
    reduction_factor: int = Field(default=4, ge=2)
    """ASHA only."""

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether small values of `watch` are good."""
        return "min" if self.watch == "pretrain/loss" else "max"


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _alone(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _empty_if_none(value: Any) -> Any:
    return {} if value is None else value  # `plain:` and nothing behind it


class Sheet(Section):
    """A file's words."""

    about: str
    """One line on what the trials are to show."""
    preset: str = ""
    """Under every trial; a variant may name another."""
    scale: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Config paths and values."""
    axes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Config path -> {grid | choice | uniform | loguniform | randint: [...]}."""
    variants: dict[str, Annotated[dict[str, Any], BeforeValidator(_empty_if_none)]] = Field(default_factory=dict)
    """Name -> config paths and values, and `preset`, `scale`, `after`."""
    samples: int | None = Field(default=None, ge=1)
    """Points drawn of the axes that are no grid."""
    seed: int = Field(default=0, ge=0)
    """Of those draws."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Pre-training seeds, a trial each; none: the preset's."""
    tasks: Annotated[tuple[str, ...], BeforeValidator(_alone)] = Field(default=NINE_TASKS, min_length=1)
    """Probed after each trial, `all` for every task; none given: the nine of the paper's tables 2 and 3."""
    probe: ProbeConfig = ProbeConfig()
    metric: str = "average"
    """What says how good a trial is: `average` over its tasks as the paper's, a task (its headline), or TASK.METRIC."""
    search: Literal["random", "optuna"] = "random"
    """`optuna` chooses the values of continuous axes by the scores so far."""
    scheduler: Annotated[SchedulerConfig, BeforeValidator(_by_name)] = SchedulerConfig()
    skip_impossible: bool = False
    """Leave out combinations that cannot be trained, instead of refusing the file."""


def read_sheet(document: Document) -> Sheet:
    """Check the words of a file.

    Raises:
        ConfigError: with file and line of every word that is unknown, of the wrong type or out of range.
    """
    try:
        return Sheet.model_validate(document.values)
    except ValidationError as error:
        problems = {str(document.error(_explain(p), *_keys(p))): None for p in error.errors()}
        raise ConfigError("\n".join(problems)) from error


def _keys(problem: Mapping[str, Any]) -> tuple[str | int, ...]:
    return tuple(part for part in problem["loc"] if part != "[key]")


def _explain(problem: Mapping[str, Any]) -> str:
    keys = list(_keys(problem))
    name, value = ".".join(map(str, keys)), problem["input"]
    if problem["type"] == "extra_forbidden":
        section = {"probe": ProbeConfig, "scheduler": SchedulerConfig}.get(str(keys[0]) if len(keys) > 1 else "", Sheet)
        known = list(section.model_fields)
        return f'unknown key "{name}"{nearest(str(keys[-1]), known)}; known there: {", ".join(known)}'
    if problem["type"] == "missing":
        return f"{name} is missing; say in one line what the trials are to show"
    if problem["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        return f"{name.removesuffix('.name')} = {value!r}{nearest(str(value), allowed)} must be one of {', '.join(allowed)}"
    return f"{name} = {value!r}: {problem['msg']}"
