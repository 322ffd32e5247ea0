import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.objective import Music2VecConfig
from ray_musicssl.errors import DivergedError
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.objectives.base import PretrainBatch, PretrainModel, RunFacts
from ray_musicssl.objectives.ema import EmaTeacher, ema_decay
from ray_musicssl.objectives.music2vec import Music2Vec
from ray_musicssl.objectives.variety import moments, spread

TINY = EncoderConfig(
    num_layers=3,
    dim=32,
    num_heads=2,
    ffn_dim=64,
    conv_dim=16,
    pos_conv_depth=2,
    pos_conv_kernel=5,
    dropout=0.1,
    layerdrop=0,
)


def make(**settings):
    torch.manual_seed(0)
    encoder, facts = MusicEncoder(TINY), RunFacts(num_labels=(), max_steps=100)
    return PretrainModel(encoder, Music2Vec(encoder, Music2VecConfig(top_k=2, **settings), facts))


def batch_of(num_clips):
    draws = torch.Generator().manual_seed(1)
    waveform = torch.randn(num_clips, 6000, generator=draws) * 0.1
    return PretrainBatch(waveform=waveform, mask=torch.rand(num_clips, 18, generator=draws) < 0.5)


class _FixedTeacher(torch.nn.Module):
    def forward(self, projected):
        from ray_musicssl.models.transformer import TransformerOutput

        results = []
        for layer in range(3):
            j = np.arange(7 * 2 * 6)
            time_first = np.sin((0.1 + 0.05 * layer) * j + layer).astype(np.float32).reshape(7, 2, 6)
            results.append(torch.from_numpy(time_first).transpose(0, 1))
        return TransformerOutput(hidden_states=(), layer_results=tuple(results))


def test_targets_and_loss_are_the_reference_s_on_known_numbers():
    # Derived with fairseq's data2vec code: T=7, B=2, D=6, the last 2 of 3 layer results, masked frames 1, 3, 4.
    model = make()
    model.objective.teacher.module = _FixedTeacher()
    y = model.objective.targets(torch.zeros(2, 7, 6))
    np.testing.assert_allclose(y[0, 0], [1.17217, 1.16874, 1.13705, 1.07591, 0.98378, 0.85954], atol=1e-4)
    np.testing.assert_allclose(y[1, 6], [-0.53174, -0.38066, -0.19978, 0.00670, 0.22720, 0.44571], atol=1e-4)
    x = torch.from_numpy(np.cos(0.2 * np.arange(84)).astype(np.float32)).reshape(2, 7, 6)
    chosen = [1, 3, 4]
    loss = F.mse_loss(x[:, chosen], y[:, chosen], reduction="sum") / 6**0.5
    assert float(loss) == pytest.approx(4.823946, abs=1e-4)
    assert spread(moments(y[:, chosen].reshape(-1, 6))) == pytest.approx(0.484211, abs=1e-4)
    assert spread(moments(x[:, chosen].reshape(-1, 6))) == pytest.approx(0.707483, abs=1e-4)


def test_the_objective_s_loss_is_the_scaled_squared_error_on_masked_frames():
    model, batch = make().eval(), batch_of(2)
    output = model(batch)
    encoded = model.encoder(batch.waveform, batch.mask)
    targets = model.objective.targets(model.encoder(batch.waveform).projected)[batch.mask]
    predictions = model.objective.projection(encoded.hidden_states[-1][batch.mask])
    assert float(output.loss_sum.detach()) == pytest.approx(
        float((predictions - targets).detach().pow(2).sum()) / 32**0.5, rel=1e-5
    )
    assert output.num_targets == int(batch.mask.sum())


def test_the_teacher_sees_unmasked_audio_without_dropout_and_gets_no_gradient():
    model, batch = make().train(), batch_of(2)
    projected = model.encoder(batch.waveform).projected
    assert torch.equal(model.objective.targets(projected), model.objective.targets(projected))
    model(batch).loss_sum.backward()
    assert all(p.grad is None for p in model.objective.teacher.parameters())
    assert all(p.grad is not None for n, p in model.encoder.named_parameters())


def test_targets_of_a_clip_do_not_depend_on_the_batch():
    model, batch = make().eval(), batch_of(3)
    projected = model.encoder(batch.waveform).projected
    torch.testing.assert_close(
        model.objective.targets(projected)[1:2], model.objective.targets(projected[1:2]), rtol=1e-4, atol=1e-5
    )


# Check value: halfway up the ramp from 0.999 to 0.9999 over 30,000 steps.
@pytest.mark.parametrize(("step", "decay"), [(0, 0.999), (15_000, 0.99945), (30_000, 0.9999), (400_000, 0.9999)])
def test_the_decay_rises_linearly_then_stands(step, decay):
    assert ema_decay(step, start=0.999, end=0.9999, ramp_steps=30_000) == pytest.approx(decay, abs=1e-9)


def test_the_teacher_averages_layers_and_copies_the_positional_convolution():
    student = make().encoder.encoder
    teacher = EmaTeacher(student, copied=("pos_conv_embed",))
    before = {name: p.clone() for name, p in teacher.module.named_parameters()}
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1.0)
    teacher.follow(student, decay=0.9)
    for name, p in teacher.module.named_parameters():
        moved = 1.0 if name.startswith("pos_conv_embed") else 0.1
        torch.testing.assert_close(p, before[name] + moved, rtol=1e-5, atol=1e-6)


def test_a_collapsed_teacher_stops_the_run_but_not_during_the_first_steps():
    model = make(guard_after_fraction=0.5)
    flat = {"pretrain/target_std": 0.05, "pretrain/prediction_std": 0.5}
    model.objective.check(flat, step=49)
    with pytest.raises(DivergedError, match=r"the targets' spread is 0.0500, below objective.min_target_std=0.1"):
        model.objective.check(flat, step=50)
