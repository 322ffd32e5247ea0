import pytest

from ray_musicssl.config.feature import HiddenConfig, MfccConfig
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ResumeRefusedError
from ray_musicssl.run_dir import RunDir
from ray_musicssl.training.run_identity import claim, run_fingerprint


def run_of(*joint, **feature):
    return PretrainConfig(feature=HiddenConfig(**feature), joint_features=joint)


def test_a_run_on_hidden_features_is_known_by_their_weights_and_not_by_their_path():
    here = run_of(encoder="/here", encoder_hash="1a2b")
    moved = run_of(encoder="/there", encoder_hash="1a2b")
    others = [
        run_of(encoder="/here", encoder_hash="3c4d"),
        run_of(encoder="/here", encoder_hash="1a2b", layer=5),
        run_of(MfccConfig(), encoder="/here", encoder_hash="1a2b"),
        run_of(HiddenConfig(encoder="/here", encoder_hash="1a2b"), encoder="/here", encoder_hash="1a2b"),
    ]
    assert run_fingerprint(here, {}) == run_fingerprint(moved, {})
    assert len({run_fingerprint(config, {}) for config in (here, *others)}) == 5


def test_a_run_goes_on_though_its_encoder_moved_and_a_refusal_does_not_blame_the_move(tmp_path):
    run_dir = RunDir(tmp_path)
    claim(run_dir, run_of(encoder="/here", encoder_hash="1a2b"), {})
    claim(run_dir, run_of(encoder="/there", encoder_hash="1a2b"), {})
    with pytest.raises(ResumeRefusedError) as caught:
        claim(run_dir, run_of(encoder="/elsewhere", encoder_hash="3c4d"), {})
    assert "differs in feature.encoder_hash (1a2b -> 3c4d); use another" in str(caught.value)
