import numpy as np
import pytest

from ray_musicssl.clustering.chain import chain_of
from ray_musicssl.clustering.codebook import Codebook, FitRecord
from ray_musicssl.clustering.sums import assign
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import MfccConfig, ResidualConfig, SemitoneConfig
from ray_musicssl.errors import DataError
from ray_musicssl.features import labeller as module
from ray_musicssl.features.base import clip_frames, make_feature
from ray_musicssl.features.labeller import Labeller

MFCC = MfccConfig(num_coefficients=4)
PCM = (np.random.default_rng(0).normal(size=(2, 9000)) * 2000).astype(np.int16)


class Counted:
    """A feature that counts how often it is computed."""

    def __init__(self, config):
        self._feature = make_feature(config)
        self.name, self.dim, self.grid = self._feature.name, self._feature.dim, self._feature.grid
        self.times = 0

    def __call__(self, waveform):
        self.times += 1
        return self._feature(waveform)


def codebook(feature, frames, num_clusters):
    record = FitRecord(
        parent="x", clustering=ClusteringConfig(num_clusters=num_clusters), num_frames=1, inertia=(), usage=()
    )
    return Codebook(frames[:: len(frames) // num_clusters][:num_clusters].copy(), feature, 100.0, record)


@pytest.fixture
def codebooks(tmp_path):
    """k=5 and k=9 of MFCC, k=4 of semitones, and two stages over the k=5."""
    mfcc, semitone = (clip_frames(make_feature(config), PCM[0]) for config in (MFCC, SemitoneConfig()))
    books = [codebook(MFCC, mfcc, 5), codebook(MFCC, mfcc, 9), codebook(SemitoneConfig(), semitone, 4)]
    before = books[0]
    for num_clusters in (6, 7):  # another number each: centroids are frames, of which the next stage leaves nothing
        path = tmp_path / str(num_clusters)
        before.save(path)
        section = ResidualConfig(codebook=str(path), codebook_hash=before.hash)
        before = codebook(section, clip_frames(make_feature(section), PCM[0]), num_clusters)
        books.append(before)
    return books


def test_labels_are_those_of_each_codebook_alone_and_nothing_is_computed_twice_a_clip(codebooks, monkeypatch):
    assigned = []
    monkeypatch.setattr(module, "assign", lambda *words, device: assigned.append(words) or assign(*words))
    chains = [chain_of(book) for book in codebooks]
    made = {config.name: Counted(config) for config in (MFCC, SemitoneConfig())}
    labeller = Labeller(chains, [made[chain.leaf.name] for chain in chains])
    for pcm in PCM:
        for book, labels in zip(codebooks, labeller(pcm), strict=True):
            alone = assign(clip_frames(make_feature(book.feature), pcm), book.centroids)
            np.testing.assert_array_equal(labels, alone)
            assert len(np.unique(labels)) > 1
    assert [feature.times for feature in made.values()] == [2, 2]
    assert len(assigned) == 2 * len(codebooks)


def test_each_codebook_is_looked_up_where_its_feature_is_made(codebooks, monkeypatch):
    """Semitones on a device of torch, MFCC and what is left of them on the CPU, as one GPU task has them."""
    asked = {}
    monkeypatch.setattr(
        module,
        "assign",
        lambda frames, centroids, *, device: asked.setdefault(id(centroids), device) and assign(frames, centroids),
    )
    chains = [chain_of(book) for book in codebooks]
    features = [make_feature(chain.leaf) for chain in chains]
    devices = ["cpu:torch" if chain.leaf == SemitoneConfig() else "cpu" for chain in chains]
    Labeller(chains, features, devices)(PCM[0])
    assert asked == {id(book.centroids): device for book, device in zip(codebooks, devices, strict=True)}


def test_labels_from_a_device_of_torch_are_those_of_the_cpu(codebooks):
    chains = [chain_of(book) for book in codebooks]
    features = [make_feature(chain.leaf) for chain in chains]
    for pcm in PCM:
        here, there = Labeller(chains, features)(pcm), Labeller(chains, features, ["cpu:torch"] * len(chains))(pcm)
        for one, other in zip(here, there, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_last_stage_alone_is_labelled_as_with_all_others(codebooks):
    chains = [chain_of(book) for book in codebooks]
    alone = Labeller(chains[-1:], [make_feature(MFCC)])
    together = Labeller(chains, [make_feature(chain.leaf) for chain in chains])
    np.testing.assert_array_equal(alone(PCM[1])[0], together(PCM[1])[-1])


class Broken:
    """A feature as an encoder with one weight that is NaN would make it: the fourth frame has no number."""

    def __init__(self, value):
        self._feature, self._value = make_feature(MFCC), value
        self.name, self.dim, self.grid = "broken", self._feature.dim, self._feature.grid

    def __call__(self, waveform):
        frames = self._feature(waveform).clone()
        frames[3, -1] = self._value
        return frames


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_frames_that_are_no_numbers_get_no_label(codebooks, value):
    for book in (codebooks[0], codebooks[-1]):  # a residual's frames come from those of its leaf
        labeller = Labeller([chain_of(book)], [Broken(value)])
        with pytest.raises(DataError, match=r"^clip 7 gives broken frames that are NaN or infinite, frame 3 the first"):
            labeller(PCM[0], place="clip 7")


def test_clips_of_good_frames_are_labelled_wherever_they_lie(codebooks):
    labeller = Labeller([chain_of(codebooks[0])], [make_feature(MFCC)])
    np.testing.assert_array_equal(labeller(PCM[0]), labeller(PCM[0], place="clip 7"))
