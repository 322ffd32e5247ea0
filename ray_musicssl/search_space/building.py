"""From a candidate to a trial, or to a message that says what cannot be and where.

Conventions:
    A value that is wrong by itself is an error of the file; values that only cannot be together are an impossible
    combination, which `skip_impossible: true` leaves out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError, DataError, MusicsslError
from ray_musicssl.search_space.candidate import Candidate
from ray_musicssl.search_space.document import Document
from ray_musicssl.search_space.setting import Setting
from ray_musicssl.search_space.trial import Trial, is_open, label_needs
from ray_musicssl.training.run_identity import run_fingerprint

_REMEDY = "; change one, or leave such trials out with skip_impossible: true"
_LONGEST_NAME = 200  # of a trial, and so of a directory, which may have 255 bytes


class ImpossibleError(ConfigError):
    """Settings that are each well but cannot be together."""

    def __init__(self, place: str, trial: str, reason: str) -> None:
        super().__init__(f"{place}: {trial}: {reason}{_REMEDY}")
        self.place, self.trial, self.reason = place, trial, reason


@dataclass(frozen=True, kw_only=True)
class TrialBuilder:
    """Builds and checks trials of one file."""

    document: Document
    words: tuple[Setting, ...]  # of the command line

    def build(self, candidate: Candidate, parents: Mapping[str, Trial]) -> Trial:
        """One trial.

        Args:
            candidate: what it is built from.
            parents: the trials of the waves before, by name.

        Raises:
            ImpossibleError: if its settings cannot be together, or the trial before it was left out for that.
            ConfigError: if a value is wrong by itself.
            DataError: if an encoder, a codebook or weights that it names are not there. All with file and line.
        """
        variant, settings = candidate.variant, candidate.settings(self.words)
        self._check_name(candidate)
        overrides = tuple(setting.word for setting in settings)
        try:
            config = load_config(PretrainConfig, preset=variant.preset, scale=variant.scale, overrides=overrides)
        except ConfigError as error:
            raise self._located(error, candidate, settings) from error
        if config.init_from and not Path(config.init_from).exists():
            raise DataError(
                f"{self.document.where(*variant.place)}: init_from={config.init_from} is not there; name a run or a folder of "
                f"weights (in {candidate.name})"
            )
        longest_s = max(stage.crop_s for stage in config.audio.stages())
        if longest_s > config.audio.batch_s:
            message = f"audio.crop_s={longest_s} is longer than a step's audio.batch_s={config.audio.batch_s}"
            raise self._impossible(message, candidate, settings)
        parent = self._parent(config, candidate, parents)
        return Trial(
            name=candidate.name,
            variant=variant.title,
            preset=variant.preset,
            scale=variant.scale,
            overrides=overrides,
            point={setting.key: setting.value for setting in candidate.point},
            config=config,
            identity=run_fingerprint(config, {"start": config.init_from, "after": parent.identity if parent else ""}),
            labels=label_needs(config, parent=parent),
            after=candidate.parent_name,
            wave=variant.wave,
        )

    def _check_name(self, candidate: Candidate) -> None:
        if len(candidate.name) > _LONGEST_NAME:
            raise self.document.error(
                f"the trial {candidate.name[:40]}... has a name of {len(candidate.name)} characters, and a directory no more "
                f"than {_LONGEST_NAME}; search fewer axes in one file, or shorten a variant's name",
                *candidate.variant.place,
            )

    def _parent(self, config: PretrainConfig, candidate: Candidate, parents: Mapping[str, Trial]) -> Trial | None:
        """The trial whose checkpoint the hidden targets come from; None if they come from none."""
        variant, name = candidate.variant, candidate.name
        layers = [feature.layer for feature in config.target_features if is_open(feature)]
        place = (*variant.place, "after")
        if not variant.after:
            if layers:
                raise self.document.error(
                    f"the targets of {name} are a hidden layer, but of which encoder? give after: VARIANT, whose "
                    f"checkpoint it then is, or feature.encoder: RUN",
                    *variant.place,
                )
            self._check_encoders(config, candidate)
            return None
        if not layers:
            raise self.document.error(
                f"after: {variant.after} has no effect: the targets of {name} are no hidden layer of an encoder still to be "
                f"trained; set feature.name: hidden and no feature.encoder, or drop `after`",
                *place,
            )
        parent = parents.get(candidate.parent_name)
        if parent is None:
            reason = f"waits for {candidate.parent_name}, which is left out"
            raise ImpossibleError(self.document.where(*place), name, reason)
        has = parent.config.encoder.num_layers
        if max(layers) > has:
            reason = f"learns layer {max(layers)} of {parent.name}, which has only {has}"
            raise ImpossibleError(self.document.where(*place), name, reason)
        return parent

    def _check_encoders(self, config: PretrainConfig, candidate: Candidate) -> None:
        try:
            config.check_encoders(codebooks_follow=True)
        except MusicsslError as error:
            raise type(error)(f"{self.document.where(*candidate.variant.place)}: {error}") from error

    def _located(self, error: ConfigError, candidate: Candidate, settings: Sequence[Setting]) -> ConfigError:
        """The same complaint with the place of the setting that is to blame."""
        variant, cause = candidate.variant, error.__cause__
        problems: Sequence[Mapping[str, Any]] = cause.errors() if isinstance(cause, ValidationError) else []
        message = str(error).removeprefix(f"preset {variant.preset}: ")
        # Our own checks of several fields raise value errors; all else is about one field.
        single = [problem for problem in problems if problem["type"] != "value_error"]
        if problems and not single:
            return self._impossible(message, candidate, settings)
        blamed = next((setting for p in single if (setting := _to_blame(p, settings))), None)
        place = self._place(blamed) if blamed else self.document.where(*variant.place)
        return ConfigError(f"{place}: {message} (in {candidate.name})")

    def _impossible(self, message: str, candidate: Candidate, settings: Sequence[Setting]) -> ImpossibleError:
        named = [s for s in settings if re.search(rf"\b{re.escape(s.key.rpartition('.')[2])}\b", message)]
        what = f"{', '.join(setting.word for setting in named)} cannot be" if named else "impossible"
        place = self._place(named[-1]) if named else self.document.where(*candidate.variant.place)
        return ImpossibleError(place, candidate.name, f"{what}: {message}")

    def _place(self, setting: Setting) -> str:
        return self.document.where(*setting.place) if setting.place else f"{setting.word} on the command line"


def _to_blame(problem: Mapping[str, Any], settings: Sequence[Setting]) -> Setting | None:
    """The setting whose value a complaint is about; the later of two."""
    path = [str(part) for part in problem["loc"]]
    names = {".".join(path), ".".join([*path, "name"])}
    if len(path) > 1 and path[0] in ("feature", "objective"):  # the kind of section stands between
        names.add(".".join([path[0], *path[2:]]))
    for setting in reversed(settings):
        if any(name == setting.key or name.startswith(f"{setting.key}.") for name in names):
            return setting
    return None
