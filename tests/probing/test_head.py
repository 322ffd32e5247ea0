"""The head's arithmetic and its random choices."""

import pytest
import torch

from ray_musicssl.probing.head import WeightedSumProbe


def make(seed=0, **changes):
    sizes = {"num_layers": 3, "dim": 4, "num_outputs": 2, "hidden_dim": 8, "dropout": 0.5} | changes
    return WeightedSumProbe(**sizes, generator=torch.Generator().manual_seed(seed))


def test_output_is_two_linear_maps_of_the_softmax_weighted_sum():
    probe = make().eval()
    with torch.no_grad():
        probe.layer_logits.copy_(torch.tensor([0.0, 1.0, -2.0]))
    rows = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))
    weights = torch.tensor([0.0, 1.0, -2.0]).softmax(0)
    summed = torch.einsum("l,rld->rd", weights, rows)
    hidden = torch.clamp(summed @ probe.hidden.weight.T + probe.hidden.bias, min=0)
    torch.testing.assert_close(probe(rows), hidden @ probe.output.weight.T + probe.output.bias)
    torch.testing.assert_close(probe.layer_weights.detach(), weights)


def test_layers_start_with_equal_weights():
    torch.testing.assert_close(make().layer_weights.detach(), torch.full((3,), 1 / 3))


def test_initial_weights_follow_the_generator_and_fill_pytorchs_range():
    first, again, other = make(0, hidden_dim=512), make(0, hidden_dim=512), make(1, hidden_dim=512)
    torch.testing.assert_close(first.hidden.weight, again.hidden.weight, rtol=0, atol=0)
    assert not torch.equal(first.hidden.weight, other.hidden.weight)
    assert 0.48 < first.hidden.weight.abs().max() <= 0.5  # 1 / sqrt(4)


@pytest.mark.parametrize("dropout", [0.2, 0.5])
def test_dropout_keeps_the_mean_and_drops_the_asked_share(dropout):
    probe = make(dropout=dropout, hidden_dim=512, num_outputs=512)
    with torch.no_grad():
        probe.output.weight.copy_(torch.eye(512))
        probe.output.bias.zero_()
        rows = torch.ones(200, 3, 4)
        trained, evaluated = probe.train()(rows), probe.eval()(rows)
    alive = evaluated > 0
    assert (trained[alive] == 0).float().mean().item() == pytest.approx(dropout, abs=0.01)
    assert trained[alive].mean().item() == pytest.approx(evaluated[alive].mean().item(), rel=0.02)
