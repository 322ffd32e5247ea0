import pytest

from ray_musicssl.config.loading import load_config, preset_names
from ray_musicssl.config.pretrain import KmeansConfig, PretrainConfig
from ray_musicssl.config.scale import Scale, Shrinking, load_scale, scale_names
from ray_musicssl.errors import ConfigError
from ray_musicssl.training.run_identity import run_fingerprint


def test_every_scale_fits_every_preset():
    for scale in scale_names():
        for name in preset_names():
            assert load_config(PretrainConfig, preset=name, scale=scale).scale == scale


def test_a_smaller_number_keeps_its_kind_and_never_rises():
    shrinking = Shrinking(times=0.1, at_least=5)
    assert [shrinking.of(value) for value in (1000, 60.0, 40, 3, 3.0)] == [100, 6.0, 5, 3, 3.0]
    assert isinstance(shrinking.of(1000), int)
    assert isinstance(shrinking.of(60.0), float)


def test_a_scale_multiplies_then_replaces_and_leaves_out_sections_that_are_not_there():
    scale = Scale(
        about="half",
        shrink={"a.x": Shrinking(times=0.5, at_least=0), "b.y": Shrinking(times=0.5, at_least=0)},
        values={"a": {"z": 1}, "c": {"w": 1}},
    )
    given = {"a": {"x": 8, "k": 3}, "name": "n"}
    assert scale.apply(given) == {"a": {"x": 4, "k": 3, "z": 1}, "name": "n"}
    assert given == {"a": {"x": 8, "k": 3}, "name": "n"}


def test_overrides_come_after_the_scale():
    config = load_config(PretrainConfig, preset="music2vec-vanilla", scale="demo", overrides=["training.max_steps=7"])
    assert (config.training.max_steps, config.encoder.dim) == (7, load_scale("demo").values["encoder"]["dim"])


def test_a_codebook_takes_its_part_of_a_scale():
    whole = load_config(PretrainConfig, preset="musichubert-k500-mfcc39", scale="demo")
    config = load_config(KmeansConfig, preset="musichubert-k500-mfcc39", scale="demo")
    assert (config,) == whole.label_configs


def test_the_scales_name_does_not_make_another_run_but_its_values_do():
    own = load_config(PretrainConfig, preset="music2vec-vanilla")
    small = load_config(PretrainConfig, preset="music2vec-vanilla", scale="demo")
    assert run_fingerprint(small, {}) == run_fingerprint(small.model_copy(update={"scale": ""}), {})
    assert run_fingerprint(small, {}) != run_fingerprint(own, {})


def test_an_unknown_scale_names_the_nearest():
    with pytest.raises(ConfigError, match=r'unknown scale "dem" \(did you mean "demo"\?\); known: demo'):
        load_config(PretrainConfig, preset="music2vec-vanilla", scale="dem")


@pytest.mark.parametrize("word", ["scale=demo", "preset=music2vec-span5"])
def test_a_name_given_as_a_setting_is_refused(word):
    with pytest.raises(ConfigError, match=r"would only change a name; give the command `--"):
        load_config(PretrainConfig, preset="music2vec-vanilla", overrides=[word])
