"""A task's data as a probe takes it: read once, whatever the number of encoders, with what tells its audio from any other."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ray_musicssl.errors import DataError
from ray_musicssl.probing.identity import audio_identity, stretch_keys
from ray_musicssl.run_dir import hash_of, write_json
from ray_musicssl.tasks.base import Task, TaskData

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReadTask:
    """What a task's reader found, and what features and scores are filed under."""

    data: TaskData
    keys: Sequence[str]  # of what each example sounds like
    data_hash: str  # of the audio and the answers


def read_task(task: Task, data_dir: Path, cache_dir: Path, *, strict: bool) -> ReadTask:
    """Read a task's data and say what is left out of it.

    Raises:
        DataError: as `Task.read` does; and with `strict`, if anything is left out.
        EnvironmentFaultError: as `Task.read` does.
    """
    data = task.read(data_dir)
    if data.skipped:
        report_path = cache_dir / "skipped" / f"{task.name}.json"
        write_json(report_path, [{"dataset": task.dataset, **asdict(item)} for item in data.skipped])
        left_out = f"{task.name}: left out {in_words(data.reasons())}; listed in {report_path}"
        if strict:
            raise DataError(f"{left_out}; mend the data set, or go on without them by leaving out --strict")
        logger.warning(left_out)
    audio = audio_identity(data.examples, cache_dir / "audio-hashes.json")
    answers = [[example.id, example.track, example.split, example.target] for example in data.examples]
    return ReadTask(data=data, keys=stretch_keys(audio), data_hash=hash_of([audio, answers, list(data.classes)]))


def in_words(reasons: Mapping[str, int]) -> str:
    """How many items are left out, by reason."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
