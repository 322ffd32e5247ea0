"""What a trial is built from: a variant at a point of the axes, with a seed."""

from collections.abc import Iterable
from dataclasses import dataclass

from ray_musicssl.search_space.naming import trial_name
from ray_musicssl.search_space.setting import Setting
from ray_musicssl.search_space.variant import Variant


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trial that is not checked yet."""

    variant: Variant
    point: tuple[Setting, ...]  # a value for each axis, in the file's order
    seed: int | None  # of pre-training; None: the preset's own
    says_seed: bool  # whether the name does: where trials differ in it

    @property
    def name(self) -> str:
        """Of the trial."""
        return self._name_of(self.variant.name, self.variant.title)

    @property
    def parent_name(self) -> str:
        """Of the trial of the variant before, at the same point and seed; empty if there is none."""
        after = self.variant.after
        return self._name_of(after, after) if after else ""

    def settings(self, words: Iterable[Setting]) -> list[Setting]:
        """All that it sets, each key once: the variant's, the command line's, the axes', the seed; the later wins."""
        seed = [] if self.seed is None else [Setting(key="training.seed", value=self.seed, place=("seeds",))]
        return list({setting.key: setting for setting in (*self.variant.settings, *words, *self.point, *seed)}.values())

    def _name_of(self, variant: str, title: str) -> str:
        return trial_name(title, variant, self.point, self.seed if self.says_seed else None)
