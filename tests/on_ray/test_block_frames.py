import numpy as np
import pytest
import torch

from ray_musicssl.clustering.sample import ClipBlock
from ray_musicssl.config.feature import MfccConfig
from ray_musicssl.errors import DataError
from ray_musicssl.on_ray import targets
from ray_musicssl.on_ray.block_frames import Recipe


class Unsound:
    """An encoder whose second clip overflows."""

    name = "hidden"

    def __init__(self):
        self.calls = 0

    def __call__(self, waveform):
        self.calls += 1
        return torch.full((3, 2), float("inf") if self.calls == 2 else 1.0)


def test_a_clip_whose_frames_are_not_finite_is_named(tmp_path, make_shards, monkeypatch):
    shards = make_shards(tmp_path / "shards", seconds=[0.5] * 3, parts=1)
    monkeypatch.setattr(targets, "feature_here", lambda config, feature=Unsound(): feature)  # noqa: B008
    numbers = np.arange(3)
    clips = ClipBlock(parts=0 * numbers, row_groups=0 * numbers, rows=numbers, num_frames=9)
    with pytest.raises(
        DataError, match=r"clip 1 of row group 0 in .*part-00000\.parquet gives hidden frames that are NaN"
    ):
        list(Recipe(shards=shards, feature=MfccConfig()).frames(clips))
