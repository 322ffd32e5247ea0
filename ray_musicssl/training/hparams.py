"""What TensorBoard's HParams page knows of a sweep: which settings vary, a session a trial, what it scored.

Conventions:
    The sweep's `hparams/` names the columns; a trial's session lies beside its curves, in `runs/<trial>/tb`. It is there from
    the trial's start; `score` and `probe/<task>/<metric>` come at its end, at the run's last step.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from torch.utils.tensorboard import SummaryWriter

# Generated modules, whose names no type checker sees.
_API: Any = api_pb2
_DATA: Any = plugin_data_pb2
_SUMMARY: Any = summary_pb2

_SUFFIX = ".hparams"
_DIRECTORY = "hparams"  # not that of a trial: a session there would be a row of the page


def write_columns(sweep_dir: Path, settings: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> None:
    """Name the columns of the page.

    Args:
        sweep_dir: what TensorBoard is pointed at.
        settings: of each trial, what differs between trials.
        metrics: tags of the final scores.
    """
    keys = dict.fromkeys(key for own in settings for key in own)
    hparams = [_column(key, [_plain(own[key]) for own in settings if key in own]) for key in keys]
    infos = [_API.MetricInfo(name=_API.MetricName(tag=tag)) for tag in metrics]
    for path in (sweep_dir / _DIRECTORY).glob(f"*{_SUFFIX}"):
        path.unlink()  # of an earlier call with fewer trials
    experiment = _API.Experiment(hparam_infos=hparams, metric_infos=infos)
    _write(sweep_dir / _DIRECTORY, metadata.EXPERIMENT_TAG, experiment=experiment)


def begin_session(tensorboard_dir: Path, settings: Mapping[str, Any]) -> None:
    """Show a trial on the page, with its settings."""
    start = _DATA.SessionStartInfo(start_time_secs=time.time())
    for key, value in settings.items():
        plain = _plain(value)
        kind = {bool: "bool_value", float: "number_value", str: "string_value"}[type(plain)]
        setattr(start.hparams[key], kind, plain)
    _write(tensorboard_dir, metadata.SESSION_START_INFO_TAG, session_start_info=start)


def end_session(tensorboard_dir: Path, scores: Mapping[str, float], step: int) -> None:
    """Give a trial's final scores, at the run's last step.

    Args:
        tensorboard_dir: the trial's.
        scores: by tag.
        step: the run's last.
    """
    end = _DATA.SessionEndInfo(status=_API.STATUS_SUCCESS, end_time_secs=time.time())
    _write(tensorboard_dir, metadata.SESSION_END_INFO_TAG, session_end_info=end)
    with SummaryWriter(str(tensorboard_dir), filename_suffix=_SUFFIX) as writer:
        for tag, value in scores.items():
            writer.add_scalar(tag, value, step)


def _write(directory: Path, tag: str, **content: Any) -> None:
    data = _DATA.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    plugin = _SUMMARY.SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    message = _SUMMARY.Summary(
        value=[_SUMMARY.Summary.Value(tag=tag, metadata=_SUMMARY.SummaryMetadata(plugin_data=plugin))]
    )
    with SummaryWriter(str(directory), filename_suffix=_SUFFIX) as writer:
        writer._get_file_writer().add_summary(message)  # noqa: SLF001  (it has no other way for messages of a plug-in)


def _plain(value: Any) -> str | bool | float:
    return value if isinstance(value, str | bool | float) else float(value) if isinstance(value, int) else str(value)


def _column(key: str, values: Sequence[str | bool | float]) -> Any:
    column = _API.HParamInfo(name=key, differs=True)
    kinds = {type(value) for value in values}
    distinct = list(dict.fromkeys(values))
    if kinds == {bool}:
        column.type = _API.DATA_TYPE_BOOL
    elif kinds == {float}:
        column.type = _API.DATA_TYPE_FLOAT64
    else:
        column.type = _API.DATA_TYPE_STRING
    if kinds != {float}:  # numbers have a range to filter by; a list of them would hide others
        column.domain_discrete.extend(distinct if len(kinds) == 1 else [str(value) for value in distinct])
    return column
