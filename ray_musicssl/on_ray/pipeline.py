"""All stages in order, each skipped if it is done: from audio to a report.

Conventions:
    `OUT/shards`, `OUT/codebooks/<feature>-k<clusters>-<hash of their settings>`, `OUT/runs/<preset>`,
    `OUT/baselines/<name>`, `OUT/features` (cache), `OUT/report.html`, `OUT/timings.json`.
    With a scale, its name follows the preset's: `OUT/runs/<preset>-<scale>`. With hidden features as targets, codebook and
    run are also named after layer and encoder (`runs/musichubert-k2000-iter2-hidden6-1a2b3c4d`): one iteration after
    another fits into the same `OUT`.
    All codebooks are fitted first (see `run_targets`), then all labels are made in one pass.
    What the last stage needs is looked at before the first one begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ray_musicssl.audio.shard import Shards
from ray_musicssl.config.feature import HiddenConfig
from ray_musicssl.config.loading import load_config
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray.embed import embed_files
from ray_musicssl.on_ray.judge import review_labels
from ray_musicssl.on_ray.label import label
from ray_musicssl.on_ray.prepare import prepare
from ray_musicssl.on_ray.pretrain import pretrain
from ray_musicssl.on_ray.probe import probe
from ray_musicssl.on_ray.run_targets import fit_targets
from ray_musicssl.on_ray.session import session
from ray_musicssl.probing.hidden_targets import resolve
from ray_musicssl.reporting.html import write_report
from ray_musicssl.run_dir import RunDir
from ray_musicssl.stopwatch import Stopwatch
from ray_musicssl.tasks.listing import check_task
from ray_musicssl.training.label_choice import choose_labels

HAND_MADE = ("mfcc", "mfcc+semitone")


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What to run; see `run`."""

    audio: str
    out: Path
    presets: Sequence[str]
    scale: str = ""
    overrides: Sequence[str] = ()
    prepare_config: PrepareConfig = field(default_factory=PrepareConfig)
    max_bad_fraction: float = 0.05
    data_dir: Path | None = None  # of downstream data sets; None: no probes
    tasks: Sequence[str] = ()
    probe_config: ProbeConfig = field(default_factory=ProbeConfig)
    embed_audio: str | None = None  # what is embedded; None: `audio`

    @cached_property
    def configs(self) -> dict[str, PretrainConfig]:
        """The runs' settings by run name, with the weights of encoders that targets come from filled in."""
        loaded = (
            load_config(PretrainConfig, preset=name, scale=self.scale, overrides=self.overrides)
            for name in self.presets
        )
        resolved = (resolve(config, codebooks_follow=True) for config in loaded)
        return {_run_name(config): config for config in resolved}

    @property
    def run_dirs(self) -> list[Path]:
        """Where the runs go."""
        return [self.out / "runs" / name for name in self.configs]

    def run(self) -> Path:
        """Run what is not done yet, and give the report's path.

        Raises:
            MusicsslError: from the first stage that cannot go on; a re-run starts there.
        """
        configs = self.configs  # a missing encoder stops here
        self._check_data()
        watch = Stopwatch(self.out / "timings.json")
        with watch.stage("prepare"):
            shards = prepare(
                self.audio, self.out / "shards", self.prepare_config, max_bad_fraction=self.max_bad_fraction
            )
        with session():  # one for all stages that follow; wrong audio was refused before Ray started
            self._learn(configs, shards, watch)
        return write_report(self.out)

    def _check_data(self) -> None:
        """Find the data sets now: nobody should wait for all training to learn that one is missing."""
        if self.data_dir is None:
            return
        for name in self.tasks:
            try:
                check_task(name, self.data_dir, annotations_only=True)
            except DataError as error:
                raise DataError(f"{name} cannot be probed: {error}; or leave it out of --tasks") from error

    def _learn(self, configs: Mapping[str, PretrainConfig], shards: Shards, watch: Stopwatch) -> None:
        codebooks_dir = self.out / "codebooks"
        plans = {name: fit_targets(config, shards, codebooks_dir, watch.stage) for name, config in configs.items()}
        codebooks = [codebook for plan in plans.values() for codebook in plan.codebooks]
        if codebooks:
            with watch.stage("label"):
                for labels_dir in label(shards, codebooks):
                    review_labels(shards, labels_dir)
        for (name, plan), path in zip(plans.items(), self.run_dirs, strict=True):
            run_dir, labels = RunDir(path), [shards.labels_dir / codebook.hash for codebook in plan.codebooks]
            with watch.stage(f"pretrain {name}"):
                pretrain(plan.config, shards, run_dir, labels=choose_labels(plan.config, shards, labels))
            with watch.stage(f"embed {name}"):
                embed_files(
                    run_dir.path,
                    self.embed_audio or self.audio,
                    run_dir.path / "embeddings",
                    max_bad_fraction=self.max_bad_fraction,
                )
        if self.data_dir and self.tasks:
            with watch.stage("probe"):
                self._probe(self.run_dirs)

    def _probe(self, run_dirs: Sequence[Path]) -> None:
        """Probe the runs, their untrained twins and the hand-made features, all in one go."""
        assert self.data_dir is not None, "checked by the caller"
        baselines = self.out / "baselines"
        probed = [(str(path), path) for path in run_dirs]
        probed += [(f"random:{path}", baselines / f"random-{path.name}") for path in run_dirs]
        probed += [(name, baselines / name) for name in HAND_MADE]
        probe(
            [spec for spec, _ in probed],
            self.data_dir,
            self.tasks,
            [out_dir for _, out_dir in probed],
            self.probe_config,
            cache_dir=self.out / "features",
        )


def _run_name(config: PretrainConfig) -> str:
    """The preset's name, its scale, and which hidden layers of which weights the targets are, if they are."""
    hidden = [feature for feature in config.target_features if isinstance(feature, HiddenConfig)]
    return "-".join([config.preset, *filter(None, [config.scale]), *(feature.slug for feature in hidden)])
