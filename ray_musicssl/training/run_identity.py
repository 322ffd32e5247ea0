"""What makes a run that run: its fingerprint, and refusing to mix two runs in one directory."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from ray_musicssl.clustering.label_set import LabelSet
from ray_musicssl.config.loading import read_run_config, save_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError, DataError, ResumeRefusedError
from ray_musicssl.run_dir import RunDir, hash_of, read_json, write_json

logger = logging.getLogger(__name__)

REMEDY = "use another --run-dir, or --fresh to train again from the start"
_OUR_FILES = ("config.yaml", "started.json", "metrics.jsonl", "done-pretrain.json", "failed.json", "start.safetensors")
_BOOKKEEPING = (
    *("checkpoint_every_steps", "keep_checkpoints", "log_every_steps", "max_failures"),
    "activation_checkpointing",  # changes no bit
)
_LABEL_SECTIONS = ("feature", "clustering", "joint_features")


def run_fingerprint(config: PretrainConfig, provenance: Mapping[str, Any]) -> str:
    """The hash of what a run's weights depend on; workers and device, logging, names and places do not count."""
    return hash_of({"config": _identity(config), "provenance": dict(provenance)})


def _identity(config: PretrainConfig) -> dict[str, Any]:
    """The settings that make a run another run, features by what identifies them."""
    values = config.model_dump(mode="json", exclude={"scaling", "preset", "scale", "init_from"}) | {
        "feature": config.feature.identity,
        "joint_features": [feature.identity for feature in config.joint_features],
        "clustering": config.clustering.identity,
    }
    for name in _BOOKKEEPING:
        values["training"].pop(name)
    if not config.uses_labels:
        for name in _LABEL_SECTIONS:
            values.pop(name)
    return values


def check_labels(config: PretrainConfig, labels: Sequence[LabelSet]) -> None:
    """Check that a run has the label sets it needs, in the order of its heads.

    Raises:
        ConfigError: if there are too few or too many.
        DataError: if one labels another feature than the run's.
    """
    wanted = config.label_configs
    if len(labels) != len(wanted):
        names = ", ".join(kmeans.feature.name for kmeans in wanted) or "none"
        raise ConfigError(
            f"{config.objective.name} needs {len(wanted)} label set(s) (features: {names}) but got {len(labels)}; "
            f"run `musicssl kmeans` and `musicssl label`, or name them with --labels"
        )
    for kmeans, label_set in zip(wanted, labels, strict=True):
        if label_set.feature.identity != kmeans.feature.identity:
            raise DataError(
                f"{label_set.path} labels the feature {label_set.feature} but this run's feature is {kmeans.feature}; "
                f"choose other labels or set feature.name and its settings to match"
            )


def claim(run_dir: RunDir, config: PretrainConfig, provenance: Mapping[str, Any]) -> str:
    """Make `run_dir` this run's, or find that it already is; give the run's fingerprint.

    Raises:
        ResumeRefusedError: if it belongs to another run; the message names the settings and inputs that differ.
    """
    fingerprint = run_fingerprint(config, provenance)
    started = _read_started(run_dir)
    if started and started["fingerprint"] != fingerprint:
        changed = _changes(read_run_config(run_dir.path), config)
        before = started["provenance"]
        names = dict.fromkeys([*before, *provenance])
        changed += [f"{name} (other data)" for name in names if before.get(name) != provenance.get(name)]
        raise ResumeRefusedError(
            f"{run_dir.path} holds a run that differs in {', '.join(changed) or 'its inputs'}; {REMEDY}"
        )
    save_config(config, run_dir.config_path)
    if not started:
        _write_started(run_dir, {"fingerprint": fingerprint, "provenance": dict(provenance)})
    return fingerprint


def record_arithmetic(run_dir: RunDir, config: PretrainConfig, *, is_resumed: bool) -> None:
    """Note what the last bits of a claimed run's weights depend on; warn if a resumed run had it otherwise so far."""
    started, arithmetic = _read_started(run_dir), _arithmetic(config)
    before = started.get("arithmetic", arithmetic)
    changed = [
        f"{name} ({before[name]} -> {value})" for name, value in arithmetic.items() if before.get(name, value) != value
    ]
    if changed and is_resumed:
        logger.warning(
            "%s goes on with another %s: the weights will be those of a run without this change within rounding, not to "
            "the last bit",
            run_dir.path,
            ", ".join(changed),
        )
    _write_started(run_dir, started | {"arithmetic": arithmetic})


def _arithmetic(config: PretrainConfig) -> dict[str, Any]:
    scaling = config.scaling
    uses_gpu = scaling.use_gpu and scaling.num_workers > 0
    arithmetic: dict[str, Any] = {"scaling.use_gpu": uses_gpu}
    if not uses_gpu:
        arithmetic["scaling.threads_per_worker"] = scaling.threads_per_worker
    if config.training.reduce != "ordered":
        arithmetic["scaling.num_workers"] = max(scaling.num_workers, 1)
    return arithmetic


def _read_started(run_dir: RunDir) -> dict[str, Any]:
    path = run_dir.path / "started.json"
    return read_json(path) if path.exists() else {}


def _write_started(run_dir: RunDir, started: Mapping[str, Any]) -> None:
    write_json(run_dir.path / "started.json", dict(started))


def remove_run(run_dir: RunDir) -> None:
    """Remove what a run left, and nothing else."""
    for directory in (run_dir.checkpoints_dir, run_dir.tensorboard_dir):
        shutil.rmtree(directory, ignore_errors=True)
    for name in _OUR_FILES:
        (run_dir.path / name).unlink(missing_ok=True)


def _changes(old: PretrainConfig, new: PretrainConfig) -> list[str]:
    before, after = _identity(old), _identity(new)
    changed = []
    for section in after:
        if section not in before or before[section] == after[section]:
            continue
        if isinstance(after[section], dict):
            keys = [key for key in after[section] if before[section].get(key) != after[section][key]]
            changed += [f"{section}.{key} ({before[section].get(key)} -> {after[section][key]})" for key in keys]
        else:
            changed.append(section)
    return changed
