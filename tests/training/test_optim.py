import pytest
import torch

from ray_musicssl.config.optim import OptimConfig
from ray_musicssl.training.optim import FlatGradients, learning_rate, make_optimizer

LINEAR = OptimConfig()
TRISTAGE = OptimConfig(
    warmup_fraction=0.03, schedule="tristage", hold_fraction=0.9, init_scale=0.01, final_scale=0.01, clip_norm=0
)


# Check values of the references' schedules at 400,000 steps.
@pytest.mark.parametrize(
    ("config", "step", "rate"),
    [
        (LINEAR, 0, 0.0),
        (LINEAR, 16_000, 2.5e-4),
        (LINEAR, 32_000, 5e-4),
        (LINEAR, 216_000, 2.5e-4),
        (LINEAR, 400_000, 0.0),
        (TRISTAGE, 0, 5e-6),
        (TRISTAGE, 12_000, 5e-4),
        (TRISTAGE, 371_999, 5e-4),
        (TRISTAGE, 386_000, 5e-5),
        (TRISTAGE, 400_000, 5e-6),
    ],
)
def test_rates_are_the_references(config, step, rate):
    assert learning_rate(step, 400_000, config) == pytest.approx(rate, rel=1e-6, abs=1e-12)


def test_shortening_a_run_keeps_the_schedule_s_shape():
    for fraction in (0.01, 0.5, 0.95):
        long, short = (learning_rate(round(fraction * steps), steps, TRISTAGE) for steps in (400_000, 1000))
        assert long == pytest.approx(short, rel=1e-3)


def test_flat_gradients_are_what_backward_leaves_and_clip_as_torch_does():
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    flat = FlatGradients(ours.parameters())
    x = torch.randn(4, 5)
    ours(x).pow(2).sum().backward()
    theirs(x).pow(2).sum().backward()
    norm = flat.clip(0.5)
    expected = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    assert norm == pytest.approx(float(expected), rel=1e-6)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-7)


def test_decay_applies_to_biases_too():
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.bias.fill_(1.0)
    flat = FlatGradients(layer.parameters())
    optimizer = make_optimizer(flat.parameters, OptimConfig(peak_lr=0.1, weight_decay=0.5))
    optimizer.step()  # all gradients are zero
    assert layer.bias.tolist() == pytest.approx([0.95, 0.95])
