import json

import pytest

from ray_musicssl.commands.preset_sheet import describe_preset, print_preset
from ray_musicssl.errors import ConfigError


def printed(capsys, *arguments):
    print_preset(describe_preset(*arguments))
    return capsys.readouterr().out


def test_a_sheet_says_what_differs_what_the_paper_measured_and_what_it_costs(capsys):
    said = printed(capsys, "music2vec-span5")
    top, settings = said.split("# all its settings")
    lines = [line.split() for line in top.splitlines()]
    assert ["masking.mask_length", "10", "5"] in lines
    assert ["Genre", "accuracy", "47.6", "59.7"] in lines  # and vanilla's
    assert ["encoder:", "all", "but", "head", "and", "teacher", "93,164,288"] in lines
    assert ["transformer,", "attention", "2.76"] in lines
    assert "assumed: 40% of an A100's 312 TFLOP/s (bf16)" in top
    assert "days on 8 GPUs" in top
    assert "audio.crop_s" not in top
    assert "mask_length: 5" in settings
    assert "\x1b" not in said  # no colours in a pipe


def test_a_sheet_is_plain_values():
    sheet = describe_preset("music2vec-crop5s")
    assert json.loads(json.dumps(sheet)) == sheet
    assert sheet["base"] == "music2vec-vanilla"
    assert sheet["diff"] == {"audio.crop_s": {"base": 30.0, "value": 5.0}}
    assert sheet["changes"]["extends"] == "music2vec-vanilla"
    assert (sheet["settings"]["audio"]["crop_s"], sheet["settings"]["masking"]["mask_length"]) == (5.0, 10)
    assert sheet["paper"]["average"] == {"value": 61.8, "base": 57.8}
    assert {"task": "gtzan_genre", "metric": "accuracy", "value": 76.6, "base": 59.7} in sheet["paper"]["scores"]
    assert sheet["parameters"]["backbone"] == 93_164_288
    assert round(sheet["compute"]["forward_gflop_per_audio_s"]["attention"], 2) == 0.46
    assert sheet["memory"]["weights_bytes"] == 4 * sheet["parameters"]["trained"]
    assert (sheet["scale"], sheet["scale_diff"]) == (None, {})


def test_a_scale_changes_the_cost_and_not_what_the_preset_is(capsys):
    own, small = describe_preset("music2vec-crop5s"), describe_preset("music2vec-crop5s", "demo")
    assert small["diff"] == own["diff"]
    assert small["paper"] == own["paper"]
    assert small["scale_diff"]["audio.crop_s"] == {"preset": 5.0, "value": 1.0}
    assert small["parameters"]["backbone"] < 2e6
    assert "runs on CPU cores" in printed(capsys, "music2vec-crop5s", "demo")


def test_a_preset_without_base_or_paper_has_a_sheet_too(capsys):
    said = printed(capsys, "music2vec-vanilla")
    assert "what differs from the defaults" in said
    assert ["Genre", "accuracy", "59.7"] in [line.split() for line in said.splitlines()]
    assert describe_preset("musichubert-demo")["paper"] is None
    assert "the paper" not in printed(capsys, "musichubert-demo").split("# all its settings")[0].split("\n", 1)[1]


def test_an_unknown_preset_or_scale_is_refused():
    with pytest.raises(ConfigError, match="unknown preset"):
        describe_preset("music2vec-vanila")
    with pytest.raises(ConfigError, match="unknown scale"):
        describe_preset("music2vec-vanilla", "dmeo")
