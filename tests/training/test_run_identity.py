"""Which settings make a run another run, and which only change its last bits."""

import logging

import pytest

from ray_musicssl.config.feature import HiddenConfig, MfccConfig
from ray_musicssl.config.loading import load_config
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.errors import ResumeRefusedError
from ray_musicssl.run_dir import RunDir
from ray_musicssl.training.run_identity import claim, record_arithmetic, run_fingerprint

OF_LABELS = ("clustering.num_clusters=77", "feature.name=chroma")


def config(preset, *overrides):
    return load_config(PretrainConfig, preset=preset, overrides=["scaling.use_gpu=false", *overrides])


@pytest.mark.parametrize("override", OF_LABELS)
def test_a_run_without_labels_does_not_depend_on_how_labels_are_made(tmp_path, override):
    run_dir = RunDir(tmp_path)
    first = claim(run_dir, config("music2vec-demo"), {})
    assert claim(run_dir, config("music2vec-demo", override), {}) == first
    with pytest.raises(ResumeRefusedError, match=r"differs in optim\.peak_lr \(.*\); use another"):
        claim(run_dir, config("music2vec-demo", override, "optim.peak_lr=0.5"), {})


@pytest.mark.parametrize("override", OF_LABELS)
def test_a_run_with_labels_does(override):
    plain, other = config("musichubert-demo"), config("musichubert-demo", override)
    assert run_fingerprint(plain, {}) != run_fingerprint(other, {})


def test_where_frames_are_kept_while_a_codebook_is_fitted_makes_no_other_run():
    plain, other = config("musichubert-demo"), config("musichubert-demo", "clustering.frames=recompute")
    assert run_fingerprint(plain, {}) == run_fingerprint(other, {})


def test_another_objective_is_refused_by_its_name(tmp_path):
    claim(RunDir(tmp_path), config("music2vec-demo"), {})
    with pytest.raises(ResumeRefusedError, match=r"objective\.name \(music2vec -> musichubert\)"):
        claim(RunDir(tmp_path), config("musichubert-demo"), {})


@pytest.fixture
def resume(tmp_path, caplog):
    """Give what is warned of when a run with some settings goes on with others."""

    def warnings(before, after, *, is_resumed=True):
        run_dir, messages = RunDir(tmp_path), []
        for overrides in (before, after):
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                claim(run_dir, config("music2vec-demo", *overrides), {})
                record_arithmetic(run_dir, config("music2vec-demo", *overrides), is_resumed=is_resumed)
            messages = list(caplog.messages)
        return " ".join(messages)

    return warnings


ONE_THREAD, TWO_THREADS = ("scaling.threads_per_worker=1",), ("scaling.threads_per_worker=2",)
TWO_WORKERS, ONE_WORKER, HERE = ("scaling.num_workers=2",), ("scaling.num_workers=1",), ("scaling.num_workers=0",)
ORDERED, GPU = ("training.reduce=ordered",), ("scaling.use_gpu=true",)


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (ONE_THREAD, TWO_THREADS, "scaling.threads_per_worker (1 -> 2)"),
        (ORDERED + ONE_THREAD, ORDERED + TWO_THREADS, "scaling.threads_per_worker (1 -> 2)"),
        ((), GPU, "scaling.use_gpu (False -> True)"),
        (GPU, (), "scaling.use_gpu (True -> False)"),
        (TWO_WORKERS, HERE, "scaling.num_workers (2 -> 1)"),
    ],
)
def test_going_on_with_what_changes_the_last_bits_is_said(resume, before, after, named):
    said = resume(before, after)
    assert f"goes on with another {named}: the weights" in said
    assert "not to the last bit" in said


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ONE_THREAD, ONE_THREAD),
        (ORDERED + TWO_WORKERS, ORDERED + ONE_WORKER),
        (ONE_WORKER, HERE),
        (HERE + GPU, HERE),  # a run inside one process uses none
        (GPU + ONE_THREAD, GPU + TWO_THREADS),
    ],
)
def test_going_on_with_the_same_arithmetic_says_nothing(resume, before, after):
    assert resume(before, after) == ""


def test_a_run_that_has_no_checkpoint_yet_begins_anew_with_any_settings(resume):
    assert resume(ONE_THREAD, TWO_THREADS, is_resumed=False) == ""
    assert resume(TWO_THREADS, TWO_THREADS) == ""


def run_of(*joint, **feature):
    return PretrainConfig(feature=HiddenConfig(**feature), joint_features=joint)


def test_a_run_on_hidden_features_is_known_by_their_weights_and_not_by_their_path():
    here = run_of(encoder="/here", encoder_hash="1a2b")
    moved = run_of(encoder="/there", encoder_hash="1a2b")
    others = [
        run_of(encoder="/here", encoder_hash="3c4d"),
        run_of(encoder="/here", encoder_hash="1a2b", layer=5),
        run_of(MfccConfig(), encoder="/here", encoder_hash="1a2b"),
        run_of(HiddenConfig(encoder="/here", encoder_hash="1a2b", layer=3), encoder="/here", encoder_hash="1a2b"),
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
