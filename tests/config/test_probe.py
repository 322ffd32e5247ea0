"""The probe's recipe from words."""

import pytest

from ray_musicssl.config.loading import load_config
from ray_musicssl.config.probe import ProbeConfig
from ray_musicssl.errors import ConfigError


def test_a_grid_takes_the_place_of_the_rate():
    assert load_config(ProbeConfig, overrides=["lr=2e-3"]).rates == (0.002,)
    assert load_config(ProbeConfig, overrides=["lr_grid=[1e-2, 5e-4]"]).rates == (0.01, 0.0005)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lr_grid=[1e-2, 0.01]", "names a rate twice"),
        ("lr_grid=[1e-2, fast]", "lr_grid"),
        ("lr_grid=[0.0]", "lr_grid"),
        ("pooling=windows", "pooling"),
    ],
)
def test_wrong_words_are_refused_with_their_field(word, message):
    with pytest.raises(ConfigError, match=message):
        load_config(ProbeConfig, overrides=[word])
