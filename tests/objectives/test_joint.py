import pytest
import torch

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.objective import JointConfig, Music2VecConfig, MusicHubertConfig
from ray_musicssl.errors import DivergedError
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.objectives.base import PretrainBatch, PretrainModel, RunFacts
from ray_musicssl.objectives.joint import Joint

TINY = EncoderConfig(num_layers=2, dim=32, num_heads=2, ffn_dim=64, conv_dim=16, pos_conv_kernel=8, dropout=0)


def make(**settings):
    torch.manual_seed(0)
    config = JointConfig(
        musichubert=MusicHubertConfig(label_dim=16), music2vec=Music2VecConfig(top_k=1, ema_start=0.5), **settings
    )
    encoder = MusicEncoder(TINY)
    return PretrainModel(encoder, Joint(encoder, config, RunFacts(num_labels=(5,), max_steps=100))).eval()


def batch_of(num_clips):
    draws = torch.Generator().manual_seed(1)
    return PretrainBatch(
        waveform=torch.randn(num_clips, 6000, generator=draws) * 0.1,
        mask=torch.rand(num_clips, 18, generator=draws) < 0.5,
        labels=(torch.randint(5, (num_clips, 18), generator=draws),),
    )


def test_the_loss_is_the_weighted_sum_of_both_on_one_pass():
    model, batch = make(musichubert_weight=0.5, music2vec_weight=3.0), batch_of(2)
    output = model.encoder(batch.waveform, batch.mask)
    joint = model.objective
    labels, teacher = joint.musichubert(output, batch), joint.music2vec(output, batch)
    whole = joint(output, batch)
    assert float(whole.loss_sum.detach()) == pytest.approx(
        0.5 * float(labels.loss_sum.detach()) + 3 * float(teacher.loss_sum.detach()), rel=1e-6
    )
    assert whole.num_targets == labels.num_targets == teacher.num_targets == int(batch.mask.sum())


def test_scalars_of_both_are_told_apart():
    model, batch = make(), batch_of(2)
    output = model.encoder(batch.waveform, batch.mask)
    joint = model.objective
    summary = joint.summarize(joint(output, batch).statistics)
    alone = joint.musichubert.summarize(joint.musichubert(output, batch).statistics)
    regression = joint.music2vec.summarize(joint.music2vec(output, batch).statistics)
    assert summary["pretrain/masked_loss"] == alone["pretrain/masked_loss"]
    assert summary["pretrain/regression_loss"] == regression["pretrain/masked_loss"]
    assert summary["pretrain/target_std"] == regression["pretrain/target_std"]


def test_the_teacher_follows_the_shared_encoder_which_is_stored_once():
    model = make()
    teacher = model.objective.music2vec.teacher.module.layer_norm.weight
    with torch.no_grad():
        model.encoder.encoder.layer_norm.weight.fill_(3.0)
    model.objective.after_step(1, model.encoder)
    assert 1 < float(teacher[0]) < 3
    assert not [name for name in model.objective.state_dict() if "feature_extractor" in name]


def test_a_collapsed_teacher_stops_the_run():
    with pytest.raises(DivergedError, match=r"targets' spread .* below objective.music2vec.min_target_std=0.1"):
        make().objective.check({"pretrain/target_std": 0.0, "pretrain/prediction_std": 1.0}, step=100)
