import numpy as np
import pytest
import torch

from ray_musicssl.config.encoder import EncoderConfig
from ray_musicssl.config.objective import MusicHubertConfig
from ray_musicssl.models.encoder import EncoderOutput, MusicEncoder
from ray_musicssl.objectives.base import PretrainBatch, PretrainModel, RunFacts
from ray_musicssl.objectives.musichubert import LabelHead, MusicHubert

TINY = EncoderConfig(
    num_layers=2, dim=32, num_heads=2, ffn_dim=64, conv_dim=16, pos_conv_kernel=8, dropout=0, layerdrop=0
)


def sine(shape, step, shift=0.0, wave=np.sin):
    j = np.arange(np.prod(shape))
    return torch.from_numpy(wave(step * j + shift).astype(np.float32)).reshape(shape)


def test_the_loss_is_the_reference_s_on_known_numbers():
    # Derived with fairseq's own construction (positive + all classes, duplicate set to -inf) on these tensors.
    head = LabelHead(8, 5, MusicHubertConfig(label_dim=8))
    head.projection.weight.data = torch.eye(8)
    head.projection.bias.data.zero_()
    head.label_embeddings.data = sine((5, 8), 0.3, wave=np.cos)
    scores = head.scores(sine((6, 8), 0.7), torch.tensor([0, 1, 2, 3, 4, 0]))
    assert float(scores.loss_sum.detach()) == pytest.approx(37.46574, abs=1e-4)
    assert float(scores.num_correct) == 3


def test_the_whole_loss_is_the_reference_s_on_known_numbers():
    # As above, six masked frames; the stem's output (2, 4, 5) = sin(0.11 j + 0.2) has the mean square 0.49757424, times 10.
    objective = MusicHubert(MusicEncoder(TINY), MusicHubertConfig(label_dim=8), RunFacts(num_labels=(5,), max_steps=1))
    objective.heads[0].projection = torch.nn.Identity()
    objective.heads[0].label_embeddings.data = sine((5, 8), 0.3, wave=np.cos)
    hidden = torch.zeros(2, 4, 8)
    mask = torch.tensor([[True, True, True, False], [True, True, True, False]])
    hidden[mask] = sine((6, 8), 0.7)
    labels = torch.zeros(2, 4, dtype=torch.int64)
    labels[mask] = torch.tensor([0, 1, 2, 3, 4, 0])
    features = sine((2, 4, 5), 0.11, shift=0.2)
    output = objective(
        EncoderOutput(hidden_states=(hidden,), features=features, projected=hidden),
        PretrainBatch(waveform=torch.zeros(2, 1), mask=mask, labels=(labels,)),
    )
    assert float(output.loss_sum.detach()) == pytest.approx(67.32019, abs=1e-4)
    assert output.num_targets == 6


def make(num_labels=(5,), **settings):
    torch.manual_seed(0)
    encoder, facts = MusicEncoder(TINY), RunFacts(num_labels=num_labels, max_steps=1)
    return PretrainModel(encoder, MusicHubert(encoder, MusicHubertConfig(label_dim=16, **settings), facts)).eval()


def batch_of(num_clips, num_label_sets=1):
    draws = torch.Generator().manual_seed(1)
    return PretrainBatch(
        waveform=torch.randn(num_clips, 6000, generator=draws) * 0.1,
        mask=torch.rand(num_clips, 18, generator=draws) < 0.5,
        labels=tuple(torch.randint(5, (num_clips, 18), generator=draws) for _ in range(num_label_sets)),
    )


def test_the_loss_of_a_batch_is_the_sum_over_its_clips():
    model, batch = make(unmasked_weight=0.5, feature_penalty=0.0), batch_of(4)
    whole = model(batch)
    parts = [
        model(
            PretrainBatch(
                waveform=batch.waveform[i : i + 1], mask=batch.mask[i : i + 1], labels=(batch.labels[0][i : i + 1],)
            )
        )
        for i in range(4)
    ]
    assert float(whole.loss_sum) == pytest.approx(sum(float(part.loss_sum) for part in parts), rel=1e-5)
    assert whole.num_targets == sum(part.num_targets for part in parts) == 4 * 18
    added = sum(part.statistics["masked"] for part in parts)
    torch.testing.assert_close(whole.statistics["masked"], added, rtol=1e-5, atol=1e-4)


def test_the_penalty_is_the_mean_square_of_the_stem_times_the_targets():
    batch = batch_of(2)
    without, with_penalty = make(feature_penalty=0.0), make(feature_penalty=10.0)
    features = without.encoder(batch.waveform, batch.mask).features
    expected = 10 * float(features.pow(2).mean()) * int(batch.mask.sum())
    difference = float(with_penalty(batch).loss_sum) - float(without(batch).loss_sum)
    assert difference == pytest.approx(expected, rel=1e-3)


def test_losses_of_several_label_sets_are_added_and_targets_counted_once():
    batch = batch_of(2, num_label_sets=2)
    both = make((5, 5), feature_penalty=0.0)
    total = both(batch)
    singles = 0.0
    hidden = both.encoder(batch.waveform, batch.mask).hidden_states[-1]
    for head, labels in zip(both.objective.heads, batch.labels, strict=True):
        singles += float(head.scores(hidden[batch.mask], labels[batch.mask]).loss_sum)
    assert float(total.loss_sum) == pytest.approx(singles, rel=1e-5)
    assert total.num_targets == int(batch.mask.sum())


def test_labels_of_unmasked_frames_do_not_matter_when_they_weigh_nothing():
    model, batch = make(), batch_of(2)
    labels = torch.where(batch.mask, batch.labels[0], 0)
    other = PretrainBatch(waveform=batch.waveform, mask=batch.mask, labels=(labels,))
    assert float(model(batch).loss_sum) == float(model(other).loss_sum)


def test_unmasked_frames_that_weigh_nothing_are_watched_but_not_learned_from():
    model, batch = make(feature_penalty=0.0), batch_of(2)
    output = model(batch)
    summary = model.objective.summarize(output.statistics)
    hidden = model.encoder(batch.waveform, batch.mask).hidden_states[-1]
    expected = model.objective.heads[0].scores(hidden[~batch.mask], batch.labels[0][~batch.mask])
    assert summary["pretrain/unmasked_loss"] == pytest.approx(float(expected.loss_sum) / int((~batch.mask).sum()))
    only_masked = model.objective.heads[0].scores(hidden[batch.mask], batch.labels[0][batch.mask])
    gradients = [
        torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        for loss in (output.loss_sum, only_masked.loss_sum)
    ]
    for ours, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)


def test_equal_logits_are_no_hit():
    head = LabelHead(8, 5, MusicHubertConfig(label_dim=8))
    head.projection.weight.data.zero_()
    head.projection.bias.data.zero_()
    assert float(head.scores(torch.randn(6, 8), torch.zeros(6, dtype=torch.int64)).num_correct) == 0


def test_guessing_by_frequency_costs_the_label_entropy():
    # A head that always gives the log-frequencies cannot do better than the entropy: the plateau that means nothing is learned.
    frequencies = torch.tensor([0.5, 0.25, 0.125, 0.125])
    labels = torch.multinomial(frequencies, 20000, replacement=True, generator=torch.Generator().manual_seed(0))
    loss = torch.nn.functional.cross_entropy(frequencies.log().expand(20000, 4), labels)
    entropy = -float((frequencies * frequencies.log()).sum())
    assert float(loss) == pytest.approx(entropy, rel=0.01)
