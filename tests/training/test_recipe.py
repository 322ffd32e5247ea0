"""Options of the recipe in whole small runs: each changes what it says, and a resume stays exact."""

import shutil

import pytest
import torch

from ray_musicssl.errors import DivergedError
from ray_musicssl.training.checkpoint import open_checkpoint
from ray_musicssl.training.loss_scale import CLEAN_STEPS, LEAST, START, LossScale
from ray_musicssl.training.metrics_log import read_metrics

pytestmark = pytest.mark.slow
FEW = ("training.max_steps=10", "training.checkpoint_every_steps=4", "encoder.dropout=0.1", "encoder.layerdrop=0.2")


def largest_difference(one, other):
    a, b = one.model_tensors(), other.model_tensors()
    assert set(a) == set(b)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def cut_back(run_dir, step):
    """As if the run had been killed soon after `step`."""
    (run_dir / "done-pretrain.json").unlink()
    for path in (run_dir / "checkpoints").glob("step-*"):
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)


@pytest.fixture(scope="module")
def plain(tiny, tmp_path_factory):
    return tiny.train(tmp_path_factory.mktemp("plain") / "run", *FEW)


def test_activation_checkpointing_changes_no_bit_of_the_weights(tiny, tmp_path, plain):
    again = tiny.train(tmp_path / "run", *FEW, "training.activation_checkpointing=true")
    assert again.content_hash == plain.content_hash


def test_activation_checkpointing_keeps_less(tiny):
    kept = {}
    for recomputes in (False, True):
        config = tiny.config("encoder.num_layers=8", f"training.activation_checkpointing={recomputes}")
        from ray_musicssl.objectives.base import PretrainBatch
        from ray_musicssl.objectives.building import build_model

        model = build_model(config, [])
        batch = PretrainBatch(waveform=torch.randn(2, 8000), mask=torch.rand(2, 24) < 0.5)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: s.append(x.numel()) or x, lambda x: x):
            model(batch)
        kept[recomputes] = sum(sizes)
    assert kept[True] < 0.7 * kept[False]


def test_compiled_layers_learn_the_same_with_the_same_dropout_whatever_the_shapes(tiny, tmp_path, monkeypatch):
    import torch._dynamo

    monkeypatch.setattr(torch._dynamo.config, "fail_on_recompile_limit_hit", True)
    # A crop schedule and micro-batches of unequal size: several shapes for the one cache that all layers share.
    shapes = ("audio.crop_schedule=[{until_fraction: 0.5, crop_s: 0.3}]", "audio.micro_batch_s=1.5")
    compiled = tiny.train(tmp_path / "run", *FEW, *shapes, "training.compile=true")
    same = tiny.train(tmp_path / "same", *FEW, *shapes)
    assert largest_difference(compiled, same) < 1e-4


def test_a_schedule_of_crops_resumes_to_the_same_bytes_across_its_changes(tiny, tmp_path):
    schedule = "audio.crop_schedule=[{until_fraction: 0.3, crop_s: 0.3}, {until_fraction: 0.5, crop_s: 0.4}]"
    whole = tiny.train(tmp_path / "run", *FEW, schedule)
    weights = (whole.path / "model.safetensors").read_bytes()
    lines = read_metrics(tmp_path / "run/metrics.jsonl")
    cut_back(tmp_path / "run", 4)
    again = tiny.train(tmp_path / "run", *FEW, schedule)
    assert (again.path / "model.safetensors").read_bytes() == weights
    audio_s = [line["data/audio_hours"] * 3600 for line in read_metrics(tmp_path / "run/metrics.jsonl")]
    assert audio_s == [line["data/audio_hours"] * 3600 for line in lines]
    batch_s = tiny.config(*FEW).audio.batch_s
    assert audio_s[-1] == pytest.approx(10 * batch_s, rel=0.05)


def test_half_precision_resumes_exactly_with_its_loss_scale(tiny, tmp_path, plain):
    whole = tiny.train(tmp_path / "run", *FEW, "training.precision=fp16")
    assert whole.state["loss_scale"] == {"value": START, "num_clean": 10}
    weights = (whole.path / "model.safetensors").read_bytes()
    cut_back(tmp_path / "run", 4)
    assert open_checkpoint(tmp_path / "run/checkpoints/step-00000004").state["loss_scale"]["num_clean"] == 4
    again = tiny.train(tmp_path / "run", *FEW, "training.precision=fp16")
    assert (again.path / "model.safetensors").read_bytes() == weights
    assert 0 < largest_difference(again, plain) < 0.05


def test_the_loss_scale_halves_on_overflow_doubles_when_clean_and_gives_up_at_last():
    scale = LossScale()
    scale.update(is_finite=False)
    assert scale.value == START / 2
    for _ in range(CLEAN_STEPS):
        scale.update(is_finite=True)
    assert scale.value == START
    while scale.value > 2 * LEAST:
        scale.update(is_finite=False)
    with pytest.raises(DivergedError, match="precision=fp16"):
        scale.update(is_finite=False)


def test_a_frozen_stem_stays_as_it_began(tiny, tmp_path):
    from ray_musicssl.objectives.building import build_encoder

    run = tiny.train(tmp_path / "run", *FEW, "encoder.feature_grad_mult=0")
    start = build_encoder(run.config).state_dict()
    tensors = run.model_tensors()
    for name, tensor in start.items():
        assert torch.equal(tensors[f"encoder.{name}"], tensor) == name.startswith("feature_extractor"), name
