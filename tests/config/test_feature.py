import pytest

from ray_musicssl.config.feature import HiddenConfig, MfccConfig, ResidualConfig, SemitoneConfig

HERE = HiddenConfig(encoder="/here", layer=6, encoder_hash="1a2b3c4d5e6f7a8b")


def test_a_moved_encoder_is_the_same_feature():
    moved = HERE.model_copy(update={"encoder": "/there"})
    assert moved != HERE
    assert moved.identity == HERE.identity == {"name": "hidden", "layer": 6, "encoder_hash": "1a2b3c4d5e6f7a8b"}


@pytest.mark.parametrize("change", [{"layer": 5}, {"encoder_hash": "0" * 16}])
def test_another_layer_or_other_weights_are_another_feature(change):
    assert HERE.model_copy(update=change).identity != HERE.identity


def test_weights_not_looked_at_yet_equal_no_others():
    one, other = HiddenConfig(encoder="/here"), HiddenConfig(encoder="/there")
    assert len({str(section.identity) for section in (one, other, HERE)}) == 3


@pytest.mark.parametrize("section", [MfccConfig(num_coefficients=20), SemitoneConfig(window_s=0.128)])
def test_a_feature_that_is_computed_is_all_its_settings(section):
    assert section.identity == section.model_dump(mode="json")
    assert section.slug == section.name


def test_iterations_have_names_of_their_own():
    assert HERE.slug == "hidden6-1a2b3c4d"


def test_a_section_can_be_typed_again():
    assert MfccConfig().words == "feature.name=mfcc feature.num_coefficients=13"
    assert HiddenConfig(encoder="/here", layer=3).words == "feature.name=hidden feature.encoder=/here feature.layer=3"


def test_a_moved_codebook_is_the_same_residual_and_another_one_is_not():
    here = ResidualConfig(codebook="/here", codebook_hash="1a2b3c4d5e6f7a8b")
    there = here.model_copy(update={"codebook": "/there"})
    assert here.identity == there.identity == {"name": "residual", "codebook_hash": "1a2b3c4d5e6f7a8b"}
    assert here.slug == "residual-1a2b3c4d"
    unresolved = [ResidualConfig(codebook="/here"), ResidualConfig(codebook="/there")]
    assert len({str(section.identity) for section in (here, *unresolved)}) == 3


def test_only_a_residual_without_path_and_hash_waits_for_its_codebook():
    assert ResidualConfig().is_open
    assert not ResidualConfig(codebook="/here").is_open
    assert not ResidualConfig(codebook_hash="1a2b").is_open
