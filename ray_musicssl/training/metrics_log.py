"""Where scalars go: `metrics.jsonl` and TensorBoard, continued without a seam after a resume.

Conventions:
    Names are `stage/name`; the x axis is the number of optimiser steps taken.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from ray_musicssl.run_dir import RunDir, write_text


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a `metrics.jsonl` that are whole, in order; a missing file has none."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:  # the last line of a killed run
            break
    return lines


class MetricsLog:
    """Writes one run's scalars; one process of a run has one."""

    def __init__(self, run_dir: RunDir, first_step: int) -> None:
        """Go on after `first_step` steps; what an earlier attempt logged beyond that is dropped."""
        kept = [line for line in read_metrics(run_dir.metrics_path) if line["step"] <= first_step]
        write_text(run_dir.metrics_path, "".join(json.dumps(line) + "\n" for line in kept))
        self.elapsed_s = kept[-1]["sys/elapsed_s"] if kept else 0.0
        self._file = run_dir.metrics_path.open("a")
        self._tensorboard = SummaryWriter(str(run_dir.tensorboard_dir), purge_step=first_step + 1)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log the scalars after `step` optimiser steps."""
        self._file.write(json.dumps({"step": step, **scalars}) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._tensorboard.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush everything."""
        self._file.close()
        self._tensorboard.close()
