import shlex

import pytest

from ray_musicssl.clustering.codebook import feature_values, read_feature
from ray_musicssl.config.feature import (
    ChromaConfig,
    CombinedConfig,
    CqtConfig,
    HiddenConfig,
    MfccConfig,
    ResidualConfig,
    SemitoneConfig,
)
from ray_musicssl.config.loading import load_config, read_config, save_config
from ray_musicssl.config.pretrain import KmeansConfig, PretrainConfig
from ray_musicssl.errors import ConfigError

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


@pytest.mark.parametrize(
    "section", [MfccConfig(num_coefficients=20), SemitoneConfig(window_s=0.128), ChromaConfig(norm="max")]
)
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


def typed(*words):
    return load_config(KmeansConfig, overrides=words).feature


BOTH = CombinedConfig(parts=(MfccConfig(), SemitoneConfig()))
SECTIONS = {
    "feature.name=chroma feature.window_s=0.5": ChromaConfig(window_s=0.5),
    "feature.name=cqt feature.bins_per_octave=24": CqtConfig(bins_per_octave=24),
    "feature.name=mfcc+semitone": BOTH,
    "feature.name=mfcc+chroma+cqt 'feature.weights=[1, 2, 0.5]'": CombinedConfig(
        parts=(MfccConfig(), ChromaConfig(), CqtConfig()), weights=(1, 2, 0.5)
    ),
    "feature.name=combined 'feature.parts=[{name: mfcc, num_coefficients: 20}, {name: chroma}]'": CombinedConfig(
        parts=(MfccConfig(num_coefficients=20), ChromaConfig())
    ),
}


@pytest.mark.parametrize("line", SECTIONS)
def test_a_command_line_gives_the_section_and_the_section_its_words(line):
    section = typed(*shlex.split(line))
    assert section == SECTIONS[line]
    assert typed(*shlex.split(section.words)) == section


@pytest.mark.parametrize("section", SECTIONS.values())
def test_a_codebook_s_facts_give_the_section_back(section):
    assert read_feature(feature_values(section)) == section


@pytest.mark.parametrize("names", [["chroma"], ["mfcc+cqt", "chroma"]])
def test_joint_features_are_written_the_same_way(names, tmp_path):
    listed = ", ".join(f"{{name: {name}}}" for name in names)
    config = load_config(PretrainConfig, overrides=[f"joint_features=[{listed}]"])
    assert [feature.slug for feature in config.joint_features] == names
    save_config(config, tmp_path / "config.yaml")
    assert read_config(PretrainConfig, tmp_path / "config.yaml") == config


def test_a_combined_feature_is_its_parts_and_weights():
    assert BOTH.slug == "mfcc+semitone"
    assert BOTH.words == "feature.name=mfcc+semitone"
    assert BOTH.weights == (1.0, 1.0)
    assert [part["name"] for part in BOTH.identity["parts"]] == ["mfcc", "semitone"]
    others = [
        CombinedConfig(parts=(SemitoneConfig(), MfccConfig())),
        CombinedConfig(parts=BOTH.parts, weights=(1, 2)),
        CombinedConfig(parts=(MfccConfig(num_coefficients=12), SemitoneConfig())),
    ]
    assert len({str(section.identity) for section in (BOTH, *others)}) == 4
    assert CombinedConfig(parts=BOTH.parts, weights=(1, 1)).identity == BOTH.identity


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("feature.name=mfcc+hidden", "hidden cannot be a part of a combined feature.*with joint_features"),
        ("feature.name=mfcc+combined", "'combined' cannot be a part of a combined feature; parts are mfcc, semitone, "),
        ("feature.name=mfcc+chords", "'chords' cannot be a part of a combined feature; parts are mfcc, semitone, "),
        ("feature.name=mfcc+", "'' cannot be a part"),
        ("feature.name=combined", "needs two parts or more, not None; write feature.name=mfcc\\+semitone"),
        ("feature.name=combined feature.parts=[]", r"needs two parts or more, not \[\]"),
        ("feature.name=mfcc+mfcc", "name mfcc with the same settings twice"),
        ("feature.name=mfcc+cqt feature.weights=[1]", r"weights=\[1.0\] are 1 for 2 parts \(mfcc\+cqt\)"),
        (
            "feature.name=mfcc+cqt feature.weights=[1,0]",
            "feature.weights.1 = 0: Input should be greater than 0",
        ),
        (
            "feature.name=mfcc+cqt feature.num_bins=3",
            'unknown key "feature.num_bins" of feature.name=combined; known there: name, parts',
        ),
        (
            "feature.name=chroma feature.windw_s=3",
            'unknown key "feature.windw_s" of feature.name=chroma \\(did you mean "window_s"',
        ),
    ],
)
def test_a_feature_that_cannot_be_is_refused_with_what_can(line, message):
    with pytest.raises(ConfigError, match=message):
        typed(*line.split(" "))


def test_a_short_form_beside_parts_is_refused_with_both():
    with pytest.raises(ConfigError, match=r"name=mfcc\+chroma says what the parts are, and parts="):
        typed("feature.name=mfcc+chroma", "feature.parts=[{name: mfcc}, {name: semitone}]")


def test_the_same_target_twice_is_refused():
    with pytest.raises(ConfigError, match="mfcc is given twice with the same settings"):
        load_config(PretrainConfig, overrides=["feature.name=mfcc", "joint_features=[{name: mfcc}]"])
    twice = load_config(PretrainConfig, overrides=["joint_features=[{name: residual}, {name: residual}]"])
    assert len(twice.joint_features) == 2  # each is of the target before it


def test_a_combination_says_which_constants_it_is_divided_by():
    assert BOTH.identity["spreads"] == 1
    assert "spreads" not in feature_values(BOTH)


def test_words_can_be_pasted_into_a_shell():
    words = ResidualConfig(codebook="/a b/c").words
    assert shlex.split(words) == ["feature.name=residual", "feature.codebook=/a b/c"]
