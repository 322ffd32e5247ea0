"""A trained encoder as people use it: any audio in, embeddings out."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soxr
import torch

import ray_musicssl
from ray_musicssl.audio.frames import ENCODER_GRID
from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.errors import DataError
from ray_musicssl.hub.importer import open_encoder
from ray_musicssl.models import windows
from ray_musicssl.models.encoder import MusicEncoder, normalize
from ray_musicssl.objectives.building import build_encoder
from ray_musicssl.probing import embed
from ray_musicssl.probing.embed import Encoder, load_encoder, untrained_encoder
from ray_musicssl.training.checkpoint import find_checkpoint

LONG = 70 * 16_000 + 123  # samples: three windows


@pytest.fixture(scope="module")
def encoder(whole_run_dir):
    return load_encoder(whole_run_dir)


@pytest.fixture(scope="module")
def waveform():
    return np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1


@pytest.fixture(scope="module")
def layer_norm_encoder():
    """Untrained, with the stem in which a frame depends on nothing outside its 25 ms."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = EncoderConfig(
            num_layers=2, dim=32, num_heads=2, ffn_dim=64, conv_dim=16, conv_norm="layer", normalize_waveform=True
        )
        return Encoder(MusicEncoder(config), name="layer norm", content_hash="0" * 16)


def states_of(encoder, mono):
    """Every hidden state by one pass of the model itself."""
    with torch.inference_mode():
        audio = torch.from_numpy(mono)
        audio = normalize(audio) if encoder.model.config.normalize_waveform else audio
        return torch.cat(encoder.model(audio[None]).hidden_states).numpy()


def test_the_embedding_is_the_model_s_hidden_states(encoder, waveform):
    embedding = encoder.embed(waveform, 16_000)
    assert embedding.dtype == np.float32
    assert embedding.shape == (encoder.num_layers, ENCODER_GRID.num_frames(len(waveform)), encoder.dim) == (3, 49, 32)
    np.testing.assert_array_equal(embedding, states_of(encoder, waveform))


def test_the_waveform_is_normalised_if_the_checkpoint_says_so(layer_norm_encoder, waveform):
    config = layer_norm_encoder.model.config.model_copy(update={"normalize_waveform": False})
    raw = Encoder(MusicEncoder(config), name="raw", content_hash="1" * 16)
    raw.model.load_state_dict(layer_norm_encoder.model.state_dict())
    louder = waveform * 3 + 0.2
    normalised, not_normalised = (
        np.abs(encoder.embed(louder, 16_000) - encoder.embed(waveform, 16_000)).max()
        for encoder in (layer_norm_encoder, raw)
    )
    assert normalised < 1e-2
    assert not_normalised > 0.1


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_audio_of_any_rate_is_resampled(encoder, rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate * 2) / rate).astype(np.float32) * 0.3
    embedding = encoder.embed(tone, rate)
    np.testing.assert_array_equal(embedding, encoder.embed(soxr.resample(tone, rate, 16_000, quality="HQ"), 16_000))
    assert embedding.shape[1] == 99  # 2 s


def test_channels_are_averaged(encoder, waveform):
    mono = encoder.embed(waveform, 16_000)
    np.testing.assert_array_equal(encoder.embed(waveform[None], 16_000), mono)
    np.testing.assert_array_equal(encoder.embed(np.stack([waveform, waveform]), 16_000), mono)
    other = np.roll(waveform, 5)
    stereo = np.stack([waveform, other])
    np.testing.assert_allclose(encoder.embed(stereo, 16_000), encoder.embed((waveform + other) / 2, 16_000), atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "numbers"),
    [("all", [0, 1, 2]), (0, [0]), (2, [2]), (-1, [2]), (-3, [0]), ([2, 0], [2, 0]), ((1,), [1]), ([-1, 1], [2, 1])],
)
def test_layers_are_chosen_by_number_from_either_end(encoder, waveform, layers, numbers):
    whole = encoder.embed(waveform, 16_000)
    assert encoder.layer_numbers(layers) == numbers
    np.testing.assert_array_equal(encoder.embed(waveform, 16_000, layers=layers), whole[numbers])


@pytest.mark.parametrize("layers", [3, -4, [0, 3]])
def test_a_layer_that_is_not_there_is_refused_with_what_is(encoder, waveform, layers):
    with pytest.raises(ValueError, match=r"layers=-?\d does not exist; this encoder has 0..2"):
        encoder.embed(waveform, 16_000, layers=layers)


def test_an_unknown_way_to_pool_is_refused_with_the_known_ones(encoder, waveform):
    with pytest.raises(ValueError, match=r"pool='median' is not known; allowed are mean, mean\+sd and None"):
        encoder.embed(waveform, 16_000, pool="median")


@pytest.mark.parametrize("num_samples", [16_000, 40 * 16_000])
def test_pooling_is_the_mean_of_the_frames_and_their_spread_if_asked_for(encoder, num_samples):
    audio = np.random.default_rng(1).normal(size=num_samples).astype(np.float32) * 0.1
    pooled = encoder.embed(audio, 16_000, layers=[0, 2], pool="mean")
    frames = encoder.embed(audio, 16_000, layers=[0, 2])
    assert pooled.shape == (2, 32)
    np.testing.assert_allclose(pooled, frames.astype(np.float64).mean(axis=1), atol=1e-5)
    both = encoder.embed(audio, 16_000, layers=[0, 2], pool="mean+sd")
    np.testing.assert_array_equal(both[:, :32], pooled)
    np.testing.assert_allclose(both[:, 32:], frames.astype(np.float64).std(axis=1), atol=1e-5)


@pytest.mark.parametrize("num_samples", [1, 399, 400, 719])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_audio_too_short_for_two_frames_gives_one(encoder, num_samples, rate):
    embedding = encoder.embed(np.full(num_samples, 0.5, np.float32), rate)
    assert embedding.shape == (3, 1, 32)
    assert np.isfinite(embedding).all()


def test_short_audio_is_padded_with_silence(encoder):
    padded = np.zeros(400, np.float32)
    padded[0] = 0.5
    np.testing.assert_array_equal(encoder.embed(np.array([0.5], np.float32), 16_000), encoder.embed(padded, 16_000))


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((1, 2, 3), np.float32), r"shape \(1, 2, 3\); \[samples\] or \[channels, samples\] is needed"),
        (np.zeros(0, np.float32), r"shape \(0,\)"),
        (np.zeros((2, 0), np.float32), r"shape \(2, 0\)"),
        (np.array([0.0, np.nan], np.float32), "NaN or infinite; repair or drop it"),
        (np.array([[0.0, 1.0], [np.inf, 1.0]], np.float32), "NaN or infinite"),
    ],
)
def test_what_is_no_waveform_is_refused(encoder, waveform, message):
    with pytest.raises(ValueError, match=message):
        encoder.embed(waveform, 16_000)


def test_long_audio_in_windows_is_nearly_one_long_pass(layer_norm_encoder):
    audio = np.random.default_rng(2).normal(size=LONG).astype(np.float32) * 0.1
    embedding, whole = layer_norm_encoder.embed(audio, 16_000), states_of(layer_norm_encoder, audio)
    assert embedding.shape[1] == ENCODER_GRID.num_frames(LONG) == 3500
    error = np.abs(embedding - whole).max(axis=2)
    # Layer 0 (stem, projection and positional convolution) looks at most 64 frames away, less than the overlap of 100:
    # measured 1.4e-6, which is rounding. Layers above attend to their window only: measured 9e-4 on values around 0.8.
    assert error[0].max() < 2e-5
    assert error[1:].max() < 3e-3


def test_without_overlap_the_seams_would_show(layer_norm_encoder, monkeypatch):
    """The twin of the test above: its tolerance tells seams from none."""
    monkeypatch.setattr(windows, "OVERLAP_FRAMES", 0)
    audio = np.random.default_rng(2).normal(size=LONG).astype(np.float32) * 0.1
    error = np.abs(layer_norm_encoder.embed(audio, 16_000) - states_of(layer_norm_encoder, audio)).max(axis=2)
    assert error[0].max() > 2e-5
    assert error[0].argmax() % 1500 >= 1440 or error[0].argmax() % 1500 < 60


def test_a_run_and_its_newest_checkpoint_are_the_same_encoder(whole_run_dir, waveform, tiny):
    run = load_encoder(str(whole_run_dir))
    checkpoint = load_encoder(whole_run_dir / "checkpoints" / f"step-{tiny.num_steps:08d}")
    assert (run.name, run.content_hash) == (checkpoint.name, checkpoint.content_hash) == ("run", run.content_hash)
    np.testing.assert_array_equal(run.embed(waveform, 16_000), checkpoint.embed(waveform, 16_000))
    earlier = load_encoder(whole_run_dir / "checkpoints/step-00000005")
    assert earlier.content_hash != run.content_hash
    assert np.abs(earlier.embed(waveform, 16_000) - run.embed(waveform, 16_000)).max() > 1e-3


def test_a_checkpoint_outside_a_run_has_its_own_name(whole_run_dir, tmp_path, tiny):
    step = f"step-{tiny.num_steps:08d}"
    copied = shutil.copytree(whole_run_dir / "checkpoints" / step, tmp_path / "ck" / "final")
    assert load_encoder(copied).name == "final"
    assert untrained_encoder(copied).name == "random:final"
    assert load_encoder(whole_run_dir / "checkpoints" / step).name == "run"


def test_the_package_itself_loads_encoders(whole_run_dir, waveform, encoder):
    from ray_musicssl import load_encoder as load

    assert load is ray_musicssl.load_encoder
    np.testing.assert_array_equal(load(whole_run_dir).embed(waveform, 16_000), encoder.embed(waveform, 16_000))


def test_a_damaged_newest_checkpoint_gives_the_one_before_it(whole_run_dir, tmp_path, tiny):
    run_dir = tmp_path / "run"
    shutil.copytree(whole_run_dir, run_dir)
    newest = run_dir / "checkpoints" / f"step-{tiny.num_steps:08d}"
    (newest / "model.safetensors").write_bytes(b"damaged")
    before = run_dir / "checkpoints" / f"step-{tiny.num_steps - 5:08d}"
    assert load_encoder(run_dir).content_hash == load_encoder(before).content_hash
    with pytest.raises(DataError, match=r"model.safetensors is damaged"):
        load_encoder(newest)


@pytest.mark.parametrize("name", ["empty", "missing"])
@pytest.mark.parametrize("load", [load_encoder, untrained_encoder])
def test_a_directory_without_a_checkpoint_is_refused(tmp_path, name, load):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"{name} holds no sound checkpoint; give a run directory or a checkpoint"):
        load(tmp_path / name)


def test_an_encoder_embeds_the_same_every_time_and_trains_no_more(encoder, waveform):
    np.testing.assert_array_equal(encoder.embed(waveform, 16_000), encoder.embed(waveform, 16_000))
    assert not encoder.model.training
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())


def test_the_untrained_twin_has_the_same_shape_and_other_weights_each_time_the_same(whole_run_dir, encoder, waveform):
    twin, again = untrained_encoder(whole_run_dir), untrained_encoder(whole_run_dir)
    other = untrained_encoder(whole_run_dir, seed=1)
    np.testing.assert_array_equal(twin.embed(waveform, 16_000), again.embed(waveform, 16_000))
    assert twin.content_hash == again.content_hash
    assert len({encoder.content_hash, twin.content_hash, other.content_hash}) == 3
    assert twin.name == "random:run"
    embeddings = [one.embed(waveform, 16_000) for one in (encoder, twin, other)]
    assert {embedding.shape for embedding in embeddings} == {(3, 49, 32)}
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(embeddings[one] - embeddings[two]).max() > 1e-2


def test_the_untrained_twin_of_a_run_has_the_weights_that_the_run_began_with(whole_run_dir, monkeypatch):
    config = find_checkpoint(whole_run_dir).config
    training = config.training.model_copy(update={"seed": 5})
    began = build_encoder(config.model_copy(update={"training": training})).state_dict()
    opened = open_encoder(whole_run_dir)
    assert opened.seed == config.training.seed
    monkeypatch.setattr(embed, "open_encoder", lambda _: replace(opened, seed=5))
    twin = untrained_encoder(whole_run_dir).model.state_dict()
    assert all(torch.equal(twin[name], began[name]) for name in began)
    assert not all(torch.equal(value, began[name]) for name, value in build_encoder(config).state_dict().items())


def test_making_an_untrained_encoder_leaves_torch_s_random_state_alone(whole_run_dir):
    before = torch.get_rng_state()
    untrained_encoder(whole_run_dir)
    assert torch.equal(torch.get_rng_state(), before)
