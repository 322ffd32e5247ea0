"""One row of the probe tables: an encoder or a baseline, and what it scored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ray_musicssl.reporting.found import Run
from ray_musicssl.reporting.paper import headline
from ray_musicssl.reporting.scores import MetricScore, Score

Kind = Literal["trained", "untrained", "baseline"]
WIDE = ", mean+sd"  # ends the label of a row whose probes saw more than the mean over time


@dataclass(frozen=True, kw_only=True)
class Model:
    """One row of the probe table."""

    label: str
    kind: Kind
    run: Run | None  # the run it comes from, or whose architecture it has
    scores: Mapping[str, Score]  # by task
    is_second: bool = False  # another row shows the same encoder, on the paper's statistics
    repeats: tuple["Model", ...] = ()  # the models that it stands for, which differ by a seed alone; empty: itself

    @property
    def singles(self) -> tuple["Model", ...]:
        """The models that it stands for, itself if there are no others."""
        return self.repeats or (self,)

    @property
    def is_wide(self) -> bool:
        """Whether its probes saw more than the mean over time; those of hand-made features always do, so it tells nothing."""
        return self.kind != "baseline" and any(score.statistics == "mean+sd" for score in self.scores.values())

    @property
    def preset(self) -> str:
        """The preset of a trained model's run; empty where the paper has nothing to compare with."""
        has_printed = self.kind == "trained" and not self.is_wide
        return self.run.config.preset if has_printed and self.run is not None and self.run.config is not None else ""

    @property
    def scale(self) -> str:
        """The scale its run was trained at; empty at the preset's own size."""
        return self.run.config.scale if self.run is not None and self.run.config is not None else ""

    def headline(self, task: str) -> MetricScore | None:
        """The task's headline score, if this model has one."""
        score = self.scores.get(task)
        return score.metrics[headline(task, list(score.metrics))] if score else None
