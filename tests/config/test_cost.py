"""Costs by arithmetic against the model itself, on torch's meta device, and against the reference's figures."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ray_musicssl.config.cost import Cost, masked_share, stem_frames
from ray_musicssl.config.loading import load_config, preset_names
from ray_musicssl.config.masking import MaskingConfig
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.models.masking import batch_mask

HUBERT, MUSIC2VEC = "musichubert-k2000-mfcc39", "music2vec-vanilla"


def cost_of(preset, *overrides, scale=""):
    return Cost(load_config(PretrainConfig, preset=preset, scale=scale, overrides=overrides))


def meta_objective(config):
    from ray_musicssl.objectives.building import build_model

    with torch.device("meta"):
        return build_model(config, [label.clustering.num_clusters for label in config.label_configs])


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# Source: the reference models (Hugging Face's HuBERT and data2vec audio base, fairseq's heads).
def test_parameters_are_the_references():
    hubert, music2vec = cost_of(HUBERT).parameters, cost_of(MUSIC2VEC).parameters
    assert (hubert.stem, music2vec.stem) == (4_200_448, 4_206_592)
    assert hubert.projection == music2vec.projection == 395_008
    assert (hubert.positional_conv, music2vec.positional_conv) == (4_719_488, 3_505_920)
    assert hubert.transformer == music2vec.transformer == 12 * 7_087_872
    assert hubert.norm_and_mask == music2vec.norm_and_mask == 1_536 + 768
    assert (hubert.backbone, music2vec.backbone) == (94_371_712, 93_164_288)
    assert (hubert.head, music2vec.head) == (708_864, 590_592)
    assert cost_of(HUBERT, "clustering.num_clusters=500").parameters.head == 324_864
    assert cost_of(HUBERT, "clustering.num_clusters=100").parameters.head == 222_464
    assert (hubert.trained, music2vec.trained) == (95_080_576, 93_754_880)
    assert (hubert.teacher, music2vec.teacher) == (0, 88_561_920)


SIZES = [("", ()), ("demo", ()), ("", ("encoder.num_layers=2", "encoder.dim=32", "encoder.num_heads=2"))]


@pytest.mark.parametrize("preset", [HUBERT, MUSIC2VEC, "musichubert-demo", "music2vec-demo"])
@pytest.mark.parametrize(("scale", "overrides"), SIZES)
def test_parameters_are_those_of_the_model_that_is_built(preset, scale, overrides):
    more = ("objective.top_k=2",) if overrides and preset.startswith("music2vec") else ()
    cost = cost_of(preset, *overrides, *more, scale=scale)
    objective = meta_objective(cost.config)
    encoder, parameters = objective.encoder, cost.parameters
    assert parameters.stem == count(encoder.feature_extractor)
    assert parameters.projection == count(encoder.feature_projection)
    assert parameters.positional_conv == count(encoder.encoder.pos_conv_embed)
    assert parameters.transformer == count(encoder.encoder.layers)
    assert parameters.backbone == count(encoder)
    assert parameters.trained == sum(p.numel() for p in objective.parameters() if p.requires_grad)
    assert parameters.teacher == sum(p.numel() for p in objective.parameters() if not p.requires_grad)


@pytest.mark.parametrize("preset", [HUBERT, MUSIC2VEC, "musichubert-demo", "music2vec-crop5s"])
def test_work_is_what_torch_counts_on_one_crop(preset):
    cost = cost_of(preset)
    encoder = meta_objective(cost.config).encoder.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, cost.config.audio.crop_samples, device="meta"))
    work = cost.work
    assert work.student - work.head == counter.get_total_flops()
    assert work.stem == sum(counter.get_flop_counts()["MusicEncoder.feature_extractor"].values())
    assert work.positional_conv == sum(counter.get_flop_counts()["MusicEncoder.encoder.pos_conv_embed"].values())


# Source: the same arithmetic done by hand for the reference recipes.
def test_work_a_second_is_the_references():
    hubert, music2vec = cost_of(HUBERT).gflop_per_s(), cost_of(MUSIC2VEC).gflop_per_s()
    assert round(hubert["stem"], 1) == round(music2vec["stem"], 1) == 4.9
    assert round(hubert["linear"], 1) == round(music2vec["linear"], 1) == 8.5
    assert round(hubert["positional_conv"], 2) == 0.47
    assert round(cost_of("music2vec-crop5s").gflop_per_s()["attention"], 2) == 0.46
    assert (round(hubert["attention"], 1), round(music2vec["attention"], 1)) == (1.4, 2.8)


def test_training_is_three_passes_and_one_of_the_teacher():
    work = cost_of(MUSIC2VEC).work
    assert work.teacher == work.positional_conv + work.linear + work.attention
    assert work.training == 3 * work.student + work.teacher
    assert cost_of(HUBERT).work.teacher == 0


def test_hours_follow_from_steps_batch_and_the_assumed_speed():
    cost = cost_of(HUBERT)
    # 179 crops of 15.625 s a step; the reference's 46.7 minutes a step give 311,000 h.
    assert cost.audio_hours == pytest.approx(400_000 * 179 * 15.625 / 3600)
    assert cost.audio_hours == pytest.approx(311_000, rel=0.002)
    assert cost_of(MUSIC2VEC).audio_hours == pytest.approx(422_000, rel=0.004)
    flop = cost.work.training * 179 * 400_000
    assert cost.gpu_hours(0.5) == pytest.approx(flop / (0.5 * 312e12) / 3600)
    assert cost.busy_share == pytest.approx(179 / (4 * 8 * 6))
    assert cost.days(0.5) == pytest.approx(cost.gpu_hours(0.5) / 8 / 24 / cost.busy_share)
    assert cost_of("music2vec-step800k").total_exaflop == pytest.approx(2 * cost_of(MUSIC2VEC).total_exaflop)


@pytest.mark.parametrize("num_samples", [400, 719, 720, 16_000, 80_000, 480_000])
def test_the_stems_last_layer_has_the_grids_frames(num_samples):
    assert stem_frames(num_samples)[-1] == (num_samples - 400) // 320 + 1


@pytest.mark.parametrize("mask_prob", [0.5, 0.65, 0.8])
def test_the_masked_share_is_near_what_masks_hide(mask_prob):
    masking = MaskingConfig(mask_prob=mask_prob, mask_length=10, min_masks=1)
    hidden = batch_mask(range(200), 781, masking, seed=0).mean()
    assert masked_share(masking, 781) == pytest.approx(hidden, abs=0.02)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_a_cost(name):
    cost = cost_of(name)
    assert cost.gpu_hours() > 0
    assert 0 < cost.busy_share <= 1
