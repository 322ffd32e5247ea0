import pytest
import torch
from torch import nn

from ray_musicssl.config.feature import (
    ChromaConfig,
    CombinedConfig,
    CqtConfig,
    LogmelConfig,
    MfccConfig,
    SemitoneConfig,
)
from ray_musicssl.features.base import TargetFeature, make_feature
from ray_musicssl.features.computed import Computed

PARTS = (MfccConfig(), SemitoneConfig(), ChromaConfig(), CqtConfig(), LogmelConfig())
SECTIONS = {section.name: section for section in (*PARTS, CombinedConfig(parts=PARTS))}
SECTIONS["chroma of cqt"] = ChromaConfig(spectrum="cqt")


def owned(value):
    """Every tensor that can be reached from a feature's attributes, buffer or not."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from owned(vars(value))
    elif isinstance(value, dict):
        yield from (tensor for inner in value.values() for tensor in owned(inner))
    elif isinstance(value, list | tuple):
        yield from (tensor for inner in value for tensor in owned(inner))


@pytest.mark.parametrize("name", SECTIONS)
def test_all_tensors_of_a_feature_move_with_it(name):
    feature = make_feature(SECTIONS[name], device="meta")
    assert isinstance(feature, Computed)
    assert isinstance(feature, TargetFeature)
    devices = [tensor.device.type for tensor in owned(feature)]
    assert devices == ["meta"] * len(list(feature.buffers()))
    assert devices


@pytest.mark.parametrize("name", SECTIONS)
def test_frames_are_made_where_the_feature_is(name):
    """On the device without memory: no tensor on the way is made on the CPU by name."""
    feature = make_feature(SECTIONS[name], device="meta")
    frames = feature.frames(torch.zeros(2, 20_000, device="meta"))
    assert frames.device.type == "meta"
    assert frames.shape == (2, feature.grid.num_frames(20_000), feature.dim)


@pytest.fixture
def tf32():
    """TF32 is asked for; gives what is allowed at the time of a call."""
    flags = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = True
    yield lambda: [flag.allow_tf32 for flag in flags]
    for flag, was_allowed in zip(flags, before, strict=True):
        flag.allow_tf32 = was_allowed


def test_frames_are_made_in_whole_float32_whatever_the_process_has_asked_for(monkeypatch, tf32):
    seen = []
    feature = make_feature(MfccConfig())
    monkeypatch.setattr(feature, "frames", lambda batch: seen.append(tf32()) or batch[..., None])
    feature(torch.zeros(800))
    assert seen == [[False, False]]
    assert tf32() == [True, True]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", SECTIONS)
def test_a_gpu_makes_the_frames_of_a_cpu(name):
    waveform = 0.1 * torch.randn(3, 40_000, generator=torch.Generator().manual_seed(0))
    here, there = (make_feature(SECTIONS[name], device=device)(waveform) for device in ("cpu", "cuda"))
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4 * here.abs().max().item())


def test_a_tensor_that_is_no_buffer_would_be_found():
    """The twin of the first test."""
    feature = make_feature(CqtConfig())
    octave = feature._transform._octaves[0]
    kernels = octave._buffers.pop("_kernels")
    octave._kernels = kernels
    feature.to("meta")
    assert "cpu" in {tensor.device.type for tensor in owned(feature)}


@pytest.mark.parametrize("name", SECTIONS)
def test_shape_and_type_of_the_audio_do_not_matter(name):
    feature = make_feature(SECTIONS[name])
    waveform = 0.1 * torch.randn(2, 3, 8_000, generator=torch.Generator().manual_seed(0))
    frames = feature(waveform.double().requires_grad_())
    assert (frames.dtype, frames.requires_grad) == (torch.float32, False)
    torch.testing.assert_close(frames[1, 2], feature(waveform[1, 2]), rtol=1e-3, atol=1e-3)
