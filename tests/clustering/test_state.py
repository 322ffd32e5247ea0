import numpy as np
import pytest

from ray_musicssl.clustering.lloyd import LloydState
from ray_musicssl.clustering.minibatch import MinibatchState
from ray_musicssl.clustering.oversampling import SeedingState
from ray_musicssl.clustering.state import load_state, save_state
from ray_musicssl.errors import DataError, ResumeRefusedError

CENTROIDS = np.arange(6, dtype=np.float32).reshape(3, 2)
STATES = [
    SeedingState(candidates=CENTROIDS, ends=(1, 3)),
    LloydState(centroids=CENTROIDS, history=(3.25, 1.1)),
    LloydState(centroids=CENTROIDS),
    MinibatchState(
        centroids=CENTROIDS, counts=np.array([4, 0, 2**40]), num_rounds=3, num_steps=12, smoothed=0.1, history=(0.3,)
    ),
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: type(state).__name__)
def test_a_state_comes_back_as_it_was(tmp_path, state):
    save_state(tmp_path / "state", state, "abc")
    found = load_state(tmp_path / "state", "abc")
    assert type(found) is type(state)
    for name, value in vars(state).items():
        np.testing.assert_array_equal(vars(found)[name], value)
        assert type(vars(found)[name]) is type(value)


def test_no_file_is_no_state(tmp_path):
    assert load_state(tmp_path / "state", "abc") is None


def test_another_fit_s_state_is_refused(tmp_path):
    save_state(tmp_path / "state", STATES[0], "abc")
    with pytest.raises(ResumeRefusedError, match=r"other settings or shards \(fingerprint abc, now xyz\)"):
        load_state(tmp_path / "state", "xyz")


@pytest.mark.parametrize("damage", [b"torn", b""])
def test_a_damaged_state_is_named(tmp_path, damage):
    (tmp_path / "state").write_bytes(damage)
    with pytest.raises(DataError, match=r"state is damaged .*delete it and the fit begins again"):
        load_state(tmp_path / "state", "abc")
