"""Which checkpoint directories of a run stay: unsound ones are set aside, old ones removed.

Conventions:
    `step-00000010` is a checkpoint; `damaged-step-00000010` was one. What a run directory holds is found by looking at it:
    Ray Train's own index is never read, because it cannot know of a checkpoint that another process removed or damaged.
"""

import logging
import shutil
from pathlib import Path

from ray_musicssl.errors import DataError
from ray_musicssl.run_dir import RunDir
from ray_musicssl.training.checkpoint import MANIFEST, open_checkpoint

logger = logging.getLogger(__name__)


def set_aside_unsound(run_dir: RunDir) -> None:
    """Leave only sound checkpoints under their names, so that none is counted, kept or written over for what it is not.

    What a killed run left half-copied is removed; a whole checkpoint that does not verify is renamed, with a warning.
    """
    for directory in run_dir.path.glob(".checkpoint-*"):
        shutil.rmtree(directory)
    for directory in sorted(run_dir.checkpoints_dir.glob("step-*")):
        if not (directory / MANIFEST).exists():
            shutil.rmtree(directory)
            continue
        try:
            open_checkpoint(directory)
        except (DataError, ValueError) as error:
            aside = directory.with_name(f"damaged-{directory.name}")
            shutil.rmtree(aside, ignore_errors=True)
            directory.rename(aside)
            logger.warning("set a checkpoint aside as %s: %s", aside, error)


def keep_newest(checkpoints_dir: Path, count: int) -> None:
    """Remove all but the newest `count` checkpoints; what was set aside stays."""
    for directory in sorted(checkpoints_dir.glob("step-*"))[:-count]:
        shutil.rmtree(directory)
