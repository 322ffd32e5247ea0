"""Beginning with another encoder's weights, in whole small runs."""

import shutil

import pytest
import torch

from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ConfigError, DataError, ResumeRefusedError
from ray_musicssl.on_ray.pretrain import pretrain
from ray_musicssl.run_dir import RunDir
from ray_musicssl.training.checkpoint import open_checkpoint

pytestmark = pytest.mark.slow
# The first step of a linear schedule has rate 0, so its checkpoint holds the weights the run began with.
FIRST = ("training.max_steps=2", "training.checkpoint_every_steps=1")


@pytest.fixture(scope="module")
def source(whole_run_dir, tmp_path_factory):
    """A trained run, in a place of its own."""
    return shutil.copytree(whole_run_dir, tmp_path_factory.mktemp("source") / "run")


def encoder_of(checkpoint):
    tensors = checkpoint.model_tensors()
    return {name: tensor for name, tensor in tensors.items() if name.startswith("encoder.")}


def test_a_run_begins_with_the_encoder_it_is_given_its_teacher_a_copy_and_its_heads_new(tiny, source, tmp_path):
    tiny.train(tmp_path / "run", *FIRST, f"init_from={source}", "optim.warmup_fraction=0.5", "objective.ema_start=0.5")
    began = open_checkpoint(tmp_path / "run/checkpoints/step-00000001")
    given = open_checkpoint(source / "checkpoints/step-00000030")
    wanted, found = encoder_of(given), encoder_of(began)
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
    head = "objective.projection.weight"
    assert not torch.equal(began.model_tensors()[head], given.model_tensors()[head])
    teacher = began.model_tensors()["objective.teacher.module.layer_norm.weight"]
    torch.testing.assert_close(teacher, wanted["encoder.encoder.layer_norm.weight"])


def test_a_resume_needs_no_source_and_another_one_is_refused(tiny, source, tmp_path):
    gone = shutil.copytree(source, tmp_path / "gone")
    run_dir = tmp_path / "run"
    whole = tiny.train(run_dir, *FIRST, f"init_from={gone}")
    shutil.rmtree(gone)
    shutil.rmtree(whole.path)
    (run_dir / "done-pretrain.json").unlink()
    assert tiny.train(run_dir, *FIRST, f"init_from={gone}").content_hash
    with pytest.raises(ResumeRefusedError, match="init_from"):
        tiny.train(run_dir, *FIRST)
    with pytest.raises(DataError, match="no sound checkpoint"):
        tiny.train(tmp_path / "other", *FIRST, f"init_from={gone}")


def test_weights_of_another_shape_are_refused_with_the_differences(tiny, source, tmp_path):
    size = tiny.config().encoder.num_layers
    with pytest.raises(ConfigError, match=rf"encoder.num_layers={size} \(this run: {size + 1}\)"):
        tiny.train(tmp_path / "run", *FIRST, f"init_from={source}", f"encoder.num_layers={size + 1}")


def test_a_fresh_start_that_is_refused_removes_nothing_and_a_run_may_begin_with_itself(tiny, source, tmp_path):
    run_dir = tmp_path / "run"
    trained = tiny.train(run_dir, *FIRST)
    weights = trained.content_hash
    words = [*tiny.overrides, *FIRST]
    config = load_config(PretrainConfig, preset=tiny.preset, overrides=[*words, f"init_from={tmp_path / 'typo'}"])
    with pytest.raises(DataError, match="no sound checkpoint"):
        pretrain(config, tiny.shards, RunDir(run_dir), fresh=True)
    assert trained.path.exists()
    itself = load_config(PretrainConfig, preset=tiny.preset, overrides=[*words, f"init_from={run_dir}"])
    again = pretrain(itself, tiny.shards, RunDir(run_dir), fresh=True)
    assert again.state["provenance"]["init_from"] == weights[:16]
