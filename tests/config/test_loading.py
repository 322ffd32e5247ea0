import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ray_musicssl.config.loading import load_config, merge, parse_overrides, preset_names, read_config, save_config
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.config.pretrain import KmeansConfig, PretrainConfig
from ray_musicssl.errors import ConfigError

STABLE_KEYS = {
    "training.max_steps": 10,
    "training.reduce": "ordered",
    "optim.peak_lr": 0.25,
    "optim.warmup_fraction": 0.5,
    "masking.mask_prob": 0.4,
    "masking.mask_length": 3,
    "clustering.num_clusters": 7,
    "feature.name": "semitone",
    "audio.crop_s": 2.0,
    "audio.batch_s": 4000.0,
    "scaling.num_workers": 1,
}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_says_what_it_is(name):
    config = load_config(PretrainConfig, preset=name)
    assert config.preset == name


@pytest.mark.parametrize(("key", "value"), STABLE_KEYS.items())
def test_stable_keys_can_be_overridden(key, value):
    config = load_config(PretrainConfig, overrides=[f"{key}={value}"])
    for part in key.split("."):
        config = getattr(config, part)
    assert config == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.peak_rl=1", 'unknown key "optim.peak_rl" (did you mean "peak_lr"?)'),
        ("optimm.peak_lr=1", 'unknown key "optimm" (did you mean "optim"?)'),
        ("masking.mask_prob=1.65", "masking.mask_prob = 1.65: Input should be less than or equal to 1"),
        ("masking.mask_length=ten", "masking.mask_length = 'ten'"),
        ("masking.min_masks=781", "min_masks=781 and mask_prob=0.8 put 781 spans into a crop of audio.crop_s=15.625 s"),
        ("masking.mask_length=2000", "masking.mask_length=2000 frames is longer than a crop of audio.crop_s=15.625"),
        ("feature.name=chords", "feature.name = 'chords' (did you mean \"chroma\"?) must be one of 'mfcc', 'semi"),
        ("objective.top_k=3", 'unknown key "objective.top_k" of objective.name=musichubert; known there'),
        ("training.precision=fp8", "training.precision = 'fp8'"),
        ("training.precision=bf61", "'bf61' (did you mean \"bf16\"?) must be 'fp32', 'bf16' or 'fp16'"),
        ("training.max_steps=yes", "training.max_steps = True: Input should be a number, not true or false"),
        ("feature.num_coefficients=on", "feature.num_coefficients = True: Input should be a number"),
        ("clustering.tolerance=false", "clustering.tolerance = False: Input should be a number"),
        ("optim.peak_lr=.nan", "optim.peak_lr"),
        ("scaling.num_workers=99", "scaling.num_workers=99 but a step has"),
        ("encoder.num_heads=7", "dim=768 must be a multiple of num_heads=7"),
        ("peak_lr", '"peak_lr" is not an override; write section.key=value'),
        ("optim.peak_lr=[1", "is not YAML"),
        ("audio.crop_s.x=1 audio.crop_s=2", '"audio.crop_s=2" and an earlier word contradict each other'),
        ("audio=2 audio.crop_s=1", '"audio.crop_s=1" and an earlier word contradict each other'),
    ],
)
def test_a_wrong_override_is_named_with_its_value_and_what_is_allowed(override, message):
    with pytest.raises(ConfigError) as caught:
        load_config(PretrainConfig, overrides=override.split())
    assert message in str(caught.value)


def test_an_impossible_target_depth_is_refused():
    with pytest.raises(ConfigError, match=r"objective.top_k=13 is above encoder.num_layers=12"):
        load_config(PretrainConfig, preset="music2vec-vanilla", overrides=["objective.top_k=13"])


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match=r'unknown preset "music2vec-vanila" \(did you mean "music2vec-vanilla"\?\)'):
        load_config(PretrainConfig, preset="music2vec-vanila")


def test_choosing_another_plug_in_drops_the_old_one_s_settings():
    base = {"feature": {"name": "mfcc", "num_coefficients": 20}}
    assert merge(base, {"feature": {"name": "semitone"}}) == {"feature": {"name": "semitone"}}
    assert merge(base, {"feature": {"num_coefficients": 13}}) == {"feature": {"name": "mfcc", "num_coefficients": 13}}


def test_numbers_without_a_dot_are_numbers():
    assert parse_overrides(["optim.peak_lr=5e-4", "a.b=true", "a.c=x"]) == {
        "optim": {"peak_lr": 5e-4},
        "a": {"b": True, "c": "x"},
    }


def test_of_two_words_for_one_key_the_later_counts():
    assert parse_overrides(["a.b=1", "a.c=3", "a.b=2"]) == {"a": {"b": 2, "c": 3}}
    assert parse_overrides(["a={b: 1, c: 3}", "a.b=2"]) == {"a": {"b": 2, "c": 3}}


@pytest.mark.parametrize("name", ["clip_s", "min_clip_s"])
def test_clips_shorter_than_a_frame_are_refused(name):
    with pytest.raises(ConfigError, match=rf"\b{name} = 1e-05: Input should be greater than or equal to 0\.025"):
        load_config(PrepareConfig, overrides=["clip_s=1e-5", "min_clip_s=1e-5"])


@given(st.floats(1e-6, 1.0), st.integers(1, 30), st.integers(0, 2**31))
def test_a_saved_configuration_reads_back_equal(tmp_path_factory, peak_lr, mask_length, seed):
    values = [f"optim.peak_lr={peak_lr!r}", f"masking.mask_length={mask_length}", f"training.seed={seed}"]
    config = load_config(PretrainConfig, preset="musichubert-demo", overrides=values)
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    save_config(config, path)
    assert read_config(PretrainConfig, path) == config
    assert yaml.safe_load(path.read_text())["optim"]["peak_lr"] == peak_lr


def test_kmeans_takes_only_its_sections_from_a_preset():
    config = load_config(KmeansConfig, preset="musichubert-demo", overrides=["feature.name=semitone"])
    assert (config.feature.name, config.clustering.num_clusters) == ("semitone", 100)


def test_label_sets_follow_the_features_in_order():
    config = load_config(PretrainConfig, preset="musichubert-demo", overrides=["joint_features=[{name: semitone}]"])
    assert [kmeans.feature.name for kmeans in config.label_configs] == ["cqt", "semitone"]
    assert load_config(PretrainConfig, preset="music2vec-demo").label_configs == ()
