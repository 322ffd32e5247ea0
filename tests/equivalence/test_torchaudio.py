"""The encoder, the labels' loss and their gradients against torchaudio's HuBERT pre-training model with the same weights."""

import pytest
import torch
import torchaudio.models.wav2vec2.components as their_components
from torch.nn import functional as F
from torchaudio.models import hubert_pretrain_model

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.objective import MusicHubertConfig
from ray_musicssl.models.encoder import MusicEncoder
from ray_musicssl.objectives.base import PretrainBatch, PretrainModel, RunFacts
from ray_musicssl.objectives.musichubert import MusicHubert

NUM_LABELS = 11
CONFIG = EncoderConfig(
    num_layers=3,
    dim=64,
    num_heads=4,
    ffn_dim=96,
    conv_dim=32,
    dropout=0,
    attention_dropout=0,
    input_dropout=0,
    layerdrop=0,
    feature_grad_mult=0.1,
)
STEM = [(32, 10, 5), *[(32, 3, 2)] * 4, *[(32, 2, 2)] * 2]


def reference():
    torch.manual_seed(0)
    model = hubert_pretrain_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=STEM,
        extractor_conv_bias=False,
        encoder_embed_dim=64,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=128,
        encoder_pos_conv_groups=16,
        encoder_num_layers=3,
        encoder_num_heads=4,
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=96,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=False,
        encoder_layer_drop=0.0,
        mask_prob=0.8,
        mask_selection="static",
        mask_other=0.0,
        mask_length=10,
        no_mask_overlap=False,
        mask_min_space=1,
        mask_channel_prob=0.0,
        mask_channel_selection="static",
        mask_channel_other=0.0,
        mask_channel_length=10,
        no_mask_channel_overlap=False,
        mask_channel_min_space=1,
        skip_masked=False,
        skip_nomask=False,
        num_classes=NUM_LABELS,
        final_dim=24,
        feature_grad_mult=0.1,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return model


def ours_like(theirs):
    """Our model with the reference's weights; what is called what is laid down here once more, by hand."""
    encoder = MusicEncoder(CONFIG)
    facts = RunFacts(num_labels=[NUM_LABELS], max_steps=1)
    model = PretrainModel(encoder, MusicHubert(encoder, MusicHubertConfig(label_dim=24), facts))
    renamed = {}
    for name, tensor in theirs.state_dict().items():
        new = name.replace("wav2vec2.feature_extractor.", "encoder.feature_extractor.")
        new = new.replace("wav2vec2.encoder.feature_projection.", "encoder.feature_projection.")
        new = new.replace("wav2vec2.encoder.transformer.", "encoder.encoder.")
        new = new.replace("mask_generator.mask_embedding", "encoder.masked_spec_embed")
        new = new.replace("logit_generator.label_embeddings", "objective.heads.0.label_embeddings")
        new = new.replace("logit_generator.final_proj.", "objective.heads.0.projection.")
        renamed[new] = tensor
    model.load_state_dict(renamed)
    return model


@pytest.fixture
def batch():
    draws = torch.Generator().manual_seed(5)
    return PretrainBatch(
        waveform=0.3 * torch.randn(3, 16_000, generator=draws),
        mask=torch.rand(3, 49, generator=draws) < 0.5,
        labels=(torch.randint(NUM_LABELS, (3, 49), generator=draws),),
    )


def their_loss(model, batch, monkeypatch):
    """Sum of the cross-entropies on masked frames + 10 * penalty * number of masked frames, as their recipe has it."""
    monkeypatch.setattr(their_components, "_compute_mask_indices", lambda *_, **__: batch.mask)
    logits, _, penalty = model(batch.waveform, batch.labels[0])
    target = torch.zeros(len(logits), dtype=torch.int64)  # the positive comes first
    return F.cross_entropy(logits, target, reduction="sum") + 10 * penalty * len(logits)


def test_the_loss_and_its_gradients(batch, monkeypatch, record_property):
    theirs = reference().train()
    ours = ours_like(theirs).train()
    wanted = their_loss(theirs, batch, monkeypatch)
    output = ours(batch)
    difference = abs(float(output.loss_sum.detach()) - float(wanted.detach())) / float(wanted.detach())
    record_property("largest_difference", difference)
    assert difference < 1e-5
    wanted.backward()
    output.loss_sum.backward()
    mine = dict(ours.named_parameters())
    for name, gradient in ours_like_gradients(theirs).items():
        scale = float(gradient.abs().max())
        # A key's bias adds the same to all scores of a query: its gradient is 0 but for rounding, hence the 1e-7.
        assert float((mine[name].grad - gradient).abs().max()) < 1e-4 * scale + 1e-7, name


def ours_like_gradients(theirs):
    """The reference's gradients under our names."""
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(parameter.grad)
    return {name: p.detach() for name, p in ours_like(theirs).named_parameters()}


def test_hidden_states_of_every_layer(batch, record_property):
    theirs = reference().eval()
    ours = ours_like(theirs).eval()
    with torch.no_grad():
        reference_states, _ = theirs.wav2vec2.extract_features(batch.waveform)
        states = ours.encoder(batch.waveform).hidden_states[1:]
    difference = max(float((a - b).abs().max()) for a, b in zip(states, reference_states, strict=True))
    record_property("largest_difference", difference)
    assert difference < 1e-5


def test_padded_clips(batch, record_property):
    theirs = reference().eval()
    ours = ours_like(theirs).eval()
    lengths = torch.tensor([16_000, 9_000, 12_345])
    with torch.no_grad():
        reference_states, _ = theirs.wav2vec2.extract_features(batch.waveform, lengths)
        states = ours.encoder(batch.waveform, num_samples=lengths).hidden_states[1:]
    difference = max(float((a - b).abs().max()) for a, b in zip(states, reference_states, strict=True))
    record_property("largest_difference", difference)
    assert difference < 1e-5
