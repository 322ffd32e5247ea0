import math

import pytest
import torch

from ray_musicssl.objectives.variety import RANK_FRAMES, effective_rank, moments, outer_moments, spread


def frames_in(num_directions, *, num_frames=4000, dim=8):
    draws = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(dim, dim, generator=draws)).Q[:num_directions]
    return torch.randn(num_frames, num_directions, generator=draws) @ basis + 3.0


def in_parts(frames, size):
    return torch.stack([outer_moments(part) for part in frames.split(size)]).sum(0)


def test_moments_add_up_to_the_spread_of_all_frames():
    frames = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = moments(frames[:20]) + moments(frames[20:])
    expected = torch.sqrt(frames.var(0) + 1e-6).mean()
    assert spread(parts) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("num_directions", [1, 2, 8])
def test_frames_that_spread_equally_into_some_directions_have_that_rank(num_directions):
    rank = effective_rank(in_parts(frames_in(num_directions), RANK_FRAMES))
    assert rank == pytest.approx(num_directions, rel=0.01)


def test_an_uneven_spread_counts_for_less():
    frames = frames_in(2)
    frames[:, 0] *= 20
    assert 1 < effective_rank(in_parts(frames, RANK_FRAMES)) < 1.5


def test_equal_frames_have_no_rank():
    frame = torch.randn(64, generator=torch.Generator().manual_seed(3))  # no round numbers: sums round
    assert effective_rank(in_parts(frame.expand(300, 64), 100)) == 0


@pytest.mark.parametrize("num_frames", [1, 256, 257, 499, 767, 5000])
def test_the_frames_that_are_measured_lie_all_over_the_batch(num_frames):
    moments = outer_moments(torch.arange(num_frames, dtype=torch.float64)[:, None])
    assert moments[0] == min(num_frames, RANK_FRAMES)
    assert float(moments[1] / moments[0]) == pytest.approx((num_frames - 1) / 2, abs=num_frames / 200 + 1)


def test_frames_that_are_not_finite_have_no_rank_and_do_not_stop_the_run():
    assert math.isnan(effective_rank(outer_moments(torch.tensor([[1.0, math.inf], [0.0, 1.0]]))))


def test_the_rank_equals_that_of_the_covariance_numpy_computes():
    frames = torch.randn(RANK_FRAMES, 5, generator=torch.Generator().manual_seed(1)) * torch.tensor([1, 2, 3, 4, 5.0])
    eigenvalues = torch.linalg.svdvals(frames.double() - frames.double().mean(0)) ** 2
    shares = eigenvalues / eigenvalues.sum()
    expected = float(torch.exp(-(shares * shares.log()).sum()))
    assert effective_rank(outer_moments(frames)) == pytest.approx(expected, rel=1e-9)
