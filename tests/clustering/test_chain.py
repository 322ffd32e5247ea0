"""Residual codebooks find the one before them by its hash, wherever they were moved."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from ray_musicssl.clustering.chain import chain_of, leaf_of, load_chain, open_base, open_codebook
from ray_musicssl.clustering.codebook import Codebook, FitRecord
from ray_musicssl.config.clustering import ClusteringConfig
from ray_musicssl.config.feature import HiddenConfig, MfccConfig, ResidualConfig
from ray_musicssl.errors import ConfigError, DataError

RECORD = FitRecord(parent="x", clustering=ClusteringConfig(num_clusters=4), num_frames=4, inertia=(), usage=(1,) * 4)


def codebook(feature, seed):
    centroids = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)
    return Codebook(centroids, feature, 100.0, RECORD)


def residual_of(book, path):
    return ResidualConfig(codebook=str(path), codebook_hash=book.hash)


@pytest.fixture
def stages(tmp_path):
    """Three stages of one chain, in `books/1`, `books/2` and `books/3`."""
    books = [codebook(MfccConfig(num_coefficients=1), 1)]
    for number in (1, 2):
        books.append(codebook(residual_of(books[-1], tmp_path / f"books/{number}"), number + 1))
    for number, book in enumerate(books, start=1):
        book.save(tmp_path / f"books/{number}")
    return books


def hashes(chain):
    return [book.hash for book in chain.codebooks]


def test_a_chain_leads_from_the_last_stage_to_what_is_computed(stages, tmp_path):
    chain = load_chain(tmp_path / "books/3")
    assert hashes(chain) == [book.hash for book in reversed(stages)]
    assert chain.leaf == leaf_of(stages[-1].feature) == MfccConfig(num_coefficients=1)
    assert hashes(chain_of(stages[0])) == [stages[0].hash]


def test_a_saved_chain_needs_nothing_but_its_directory_wherever_that_is_moved(stages, tmp_path):
    chain = load_chain(tmp_path / "books/3")
    chain.save(tmp_path / "labels/abc")
    shutil.rmtree(tmp_path / "books")
    for place in ("labels/abc", "elsewhere"):
        if place == "elsewhere":
            (tmp_path / "labels/abc").rename(tmp_path / place)
        found = load_chain(tmp_path / place)
        assert hashes(found) == hashes(chain)
        for before, after in zip(chain.codebooks, found.codebooks, strict=True):
            np.testing.assert_array_equal(before.centroids, after.centroids)


def test_codebooks_moved_together_find_each_other(stages, tmp_path):
    (tmp_path / "books").rename(tmp_path / "moved")
    (tmp_path / "moved/1").rename(tmp_path / "moved/first")
    (tmp_path / "moved/torn").mkdir()
    (tmp_path / "moved/torn/codebook.json").write_text("{")  # no reason to stop: it is another's
    assert hashes(load_chain(tmp_path / "moved/3")) == [book.hash for book in reversed(stages)]
    (tmp_path / "moved/2").rename(tmp_path / "moved/second")
    assert open_base(residual_of(stages[1], tmp_path / "moved/2")).hash == stages[1].hash


def test_one_at_hand_is_taken_before_any_is_looked_for(stages, tmp_path):
    shutil.rmtree(tmp_path / "books")
    known = {book.hash: book for book in stages}
    assert hashes(chain_of(stages[2], known)) == [book.hash for book in reversed(stages)]
    with pytest.raises(DataError, match=r"no codebook at .*books/2, .*`label`: give it as a --codebook too"):
        chain_of(stages[2])


def test_another_codebook_in_its_place_is_refused_naming_both(stages, tmp_path):
    other = codebook(MfccConfig(num_coefficients=1), 9)
    other.save(tmp_path / "books/1")
    words = rf"the codebook at .*books/1 is {other.hash}, but the feature residual is of the codebook {stages[0].hash}"
    with pytest.raises(DataError, match=words):
        load_chain(tmp_path / "books/3")
    assert open_codebook(tmp_path / "books/1").hash == other.hash


def test_a_section_that_names_no_codebook_or_was_not_resolved_is_refused(stages, tmp_path):
    with pytest.raises(ConfigError, match=r"feature\.codebook is not set"):
        open_base(ResidualConfig())
    with pytest.raises(DataError, match=r"\(not resolved\)"):
        open_base(ResidualConfig(codebook=str(tmp_path / "books/1")))


def test_only_a_chain_over_an_encoder_is_given_one(stages, tmp_path):
    with pytest.raises(TypeError, match="mfcc has no encoder"):
        chain_of(stages[0]).with_encoder(tmp_path)
    hidden = replace(stages[0], feature=HiddenConfig(encoder="/old", encoder_hash="1a2b"))
    chain = chain_of(codebook(residual_of(hidden, "/gone"), 5), {hidden.hash: hidden}).with_encoder(tmp_path)
    assert chain.leaf.encoder == str(tmp_path)
    assert chain.codebooks[1].hash == hidden.hash
