"""Runs that find damaged checkpoints where they go on, and what they keep."""

import logging

import pytest

from ray_musicssl.run_dir import RunDir
from ray_musicssl.training.checkpoint import open_checkpoint
from ray_musicssl.training.kept_checkpoints import set_aside_unsound

OFTEN = ("training.max_steps=9", "training.checkpoint_every_steps=2")


def names(checkpoints_dir, pattern="*"):
    return sorted(path.name for path in checkpoints_dir.glob(pattern))


@pytest.fixture
def cut_run(tiny, tmp_path, damage_checkpoint):
    """A run of 9 steps with checkpoints 2, 4, 6 and 8, of which the last two are damaged."""
    run_dir = RunDir(tmp_path / "run")
    whole = tiny.train(run_dir.path, *OFTEN)
    whole.path.rename(tmp_path / "whole")
    (run_dir.path / "done-pretrain.json").unlink()
    for step in (6, 8):
        damage_checkpoint(run_dir.checkpoints_dir / f"step-{step:08d}")
    return run_dir


def test_damaged_checkpoints_push_out_no_sound_one(tiny, cut_run, tmp_path):
    words = ("training.max_steps=9", "training.checkpoint_every_steps=1000", "training.keep_checkpoints=2")
    ended = tiny.train(cut_run.path, *words)
    assert names(cut_run.checkpoints_dir, "step-*") == ["step-00000004", "step-00000009"]
    assert names(cut_run.checkpoints_dir, "damaged-*") == ["damaged-step-00000006", "damaged-step-00000008"]
    assert ended.content_hash == open_checkpoint(tmp_path / "whole").content_hash


def test_setting_aside_is_said_and_touches_nothing_sound(cut_run, caplog):
    with caplog.at_level(logging.WARNING):
        set_aside_unsound(cut_run)
    assert len(caplog.messages) == 2
    assert "damaged-step-00000008: " in caplog.messages[1]
    assert "model.safetensors is damaged" in caplog.messages[1]
    caplog.clear()
    before = names(cut_run.checkpoints_dir)
    set_aside_unsound(cut_run)
    assert caplog.messages == []
    assert names(cut_run.checkpoints_dir) == before


def test_the_last_damaged_checkpoint_of_a_step_stays(cut_run):
    """A run may come by the same step twice and be damaged twice."""
    aside = cut_run.checkpoints_dir / "damaged-step-00000008"
    aside.mkdir()
    (aside / "of-the-first-time").touch()
    set_aside_unsound(cut_run)
    assert (aside / "manifest.json").exists()
    assert not (aside / "of-the-first-time").exists()
