"""Reaching a cluster, and running tasks on it."""

import json
import os
import stat
import subprocess
import sys

import pytest
import ray

from ray_musicssl.errors import DataError, EnvironmentFaultError
from ray_musicssl.on_ray import session as module
from ray_musicssl.on_ray.session import one_cluster, run_tasks, session


@pytest.fixture
def token_path(tmp_path, monkeypatch):
    path = tmp_path / "private" / "auth_token"
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    return path


@pytest.fixture
def init_options(monkeypatch):
    """What `ray.init` would be called with."""
    options = {}
    monkeypatch.setattr(module.ray, "init", lambda **given: options.update(given))
    return options


def test_a_private_cluster_has_a_token_that_only_its_owner_can_read(token_path, init_options):
    module.connect(num_cpus=3)
    assert stat.S_IMODE(token_path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(token_path.read_text())) == 32
    assert init_options["num_cpus"] == 3
    assert init_options["include_dashboard"] is False
    assert init_options["address"] == "local"  # with none, Ray joins whatever cluster `ray start` left on this machine


def test_an_empty_address_is_none(token_path, init_options, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "")
    module.connect()
    assert init_options["address"] == "local"
    assert token_path.exists()


def test_sessions_in_one_cluster_share_it(token_path, monkeypatch):
    said = []
    monkeypatch.setattr(module.ray, "is_initialized", lambda: said.count("start") > said.count("end"))
    monkeypatch.setattr(module, "connect", lambda **_: said.append("start"))
    monkeypatch.setattr(module.ray, "shutdown", lambda: said.append("end"))
    for _ in range(2):
        with session():
            said.append("work")
    with one_cluster():
        for _ in range(2):
            with one_cluster(), session():
                said.append("work")
        said.append("more")
    with one_cluster():
        said.append("nothing")
    assert said == ["start", "work", "end"] * 2 + ["start", "work", "work", "more", "end", "nothing"]


@pytest.mark.parametrize("slow_starts", [0, 2])
def test_a_private_cluster_that_starts_slowly_is_started_again(token_path, monkeypatch, slow_starts):
    calls = []

    def init(**options):
        calls.append(options["address"])
        if len(calls) <= slow_starts:
            raise Exception("The current node timed out during startup. This could happen because")  # noqa: TRY002

    monkeypatch.setattr(module.ray, "init", init)
    module.connect()
    assert calls == ["local"] * (slow_starts + 1)


def test_a_cluster_that_never_starts_says_what_to_do(token_path, monkeypatch):
    def init(**options):
        raise Exception("The current node timed out during startup.")  # noqa: TRY002

    monkeypatch.setattr(module.ray, "init", init)
    with pytest.raises(EnvironmentFaultError, match="3 times in a row; is the machine overloaded"):
        module.connect()


def test_other_faults_of_starting_are_raised_at_once(token_path, monkeypatch):
    calls = []

    def init(**options):
        calls.append(options)
        raise RuntimeError("no such port")

    monkeypatch.setattr(module.ray, "init", init)
    with pytest.raises(RuntimeError, match="no such port"):
        module.connect()
    assert len(calls) == 1


def test_a_token_that_is_there_is_kept_and_closed_to_others(token_path, init_options):
    token_path.parent.mkdir()
    token_path.write_text("mine")
    token_path.chmod(0o644)
    module.connect()
    assert token_path.read_text() == "mine"
    assert stat.S_IMODE(token_path.stat().st_mode) == 0o600


def test_a_token_in_the_environment_writes_no_file(token_path, init_options, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    module.connect()
    assert not token_path.exists()


def test_a_running_cluster_is_joined_as_it_is(token_path, init_options, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    module.connect(num_cpus=3)
    assert not {"address", "num_cpus", "object_store_memory", "include_dashboard"} & set(init_options)
    assert not token_path.exists()


def test_a_session_inside_a_session_neither_starts_nor_ends_a_cluster(monkeypatch):
    monkeypatch.setattr(module.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(module, "connect", lambda **_: pytest.fail("it started a cluster"))
    monkeypatch.setattr(module.ray, "shutdown", lambda: pytest.fail("it ended a cluster"))
    with session():
        pass


def test_a_session_ends_the_cluster_it_started_also_after_an_error(monkeypatch):
    calls = []
    monkeypatch.setattr(module.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(module, "connect", lambda **_: calls.append("start"))
    monkeypatch.setattr(module.ray, "shutdown", lambda: calls.append("end"))
    with pytest.raises(RuntimeError, match="inside"), session():
        raise RuntimeError("inside")
    assert calls == ["start", "end"]


@pytest.mark.parametrize(("available_gb", "expected"), [(0.1, 100 << 20), (5.0, 1_000_000_000), (500.0, 2 << 30)])
def test_the_object_store_takes_a_fifth_of_the_free_memory_within_limits(monkeypatch, available_gb, expected):
    class Memory:
        available = available_gb * 1e9

    monkeypatch.setattr(module.psutil, "virtual_memory", Memory)
    assert module._object_store_bytes() == expected


def _square_or_die(item):
    number, marker = item
    if marker and not os.path.exists(marker):  # noqa: PTH110  (a text travels to the worker)
        open(marker, "w").close()  # noqa: PTH123
        os._exit(1)
    return number * number


def _refuse(number):
    raise ValueError(f"{number} is refused")


def _find_damaged(name):
    raise DataError(f"{name} is damaged")


@pytest.mark.ray
def test_tasks_give_each_result_once_survive_a_lost_worker_and_pass_errors_on(cluster, tmp_path):
    items = [(number, str(tmp_path / "died") if number == 3 else "") for number in range(12)]
    results = list(run_tasks(_square_or_die, items, num_cpus=0.5))
    assert sorted(results) == [(number, number * number) for number in range(12)]
    assert (tmp_path / "died").exists()
    with pytest.raises(ValueError, match="2 is refused"):
        list(run_tasks(_refuse, [2]))
    assert list(run_tasks(_refuse, [])) == []
    with pytest.raises(DataError) as raised:
        list(run_tasks(_find_damaged, ["a.parquet"]))
    assert type(raised.value) is DataError
    assert str(raised.value) == "a.parquet is damaged"  # the sentence, without the worker's traceback
    taken = []
    stream = run_tasks(_square_or_die, _Watched([(number, "") for number in range(100)], taken))
    next(stream)
    assert len(taken) <= 8  # 2 CPUs: only a few more tasks are begun than there is room for


class _Watched(list):
    """A list that says what was taken from it."""

    def __init__(self, items, taken):
        super().__init__(items)
        self._taken = taken

    def __iter__(self):
        for item in super().__iter__():
            self._taken.append(item)
            yield item


def _assigned(_):
    return ray.get_runtime_context().get_assigned_resources()["memory"]


@pytest.mark.ray
def test_each_task_has_the_memory_that_its_item_needs(cluster):
    needs = [100_000_000, 300_000_000, 200_000_000]
    assert dict(run_tasks(_assigned, ["a", "b", "c"], memory_bytes=needs)) == dict(enumerate(needs))


_ON_A_GPU = """
import json, os, ray
from ray_musicssl.on_ray.session import run_tasks

def process(_):
    return os.getpid()

ray.init(address="local", num_cpus=1, num_gpus=1, include_dashboard=False, logging_level="error")
print(json.dumps([dict(run_tasks(process, range(3), num_gpus=gpus)) for gpus in (1, 0)]))
"""


@pytest.mark.ray
def test_a_task_with_a_gpu_has_a_process_of_its_own():
    """A process that has used one GPU cannot be given another, and holds its memory until it ends."""
    script = [sys.executable, "-c", _ON_A_GPU]
    found = subprocess.run(script, check=True, capture_output=True, text=True, timeout=120).stdout
    on_gpu, on_cpu = (list(results.values()) for results in json.loads(found.splitlines()[-1]))
    assert len(set(on_gpu)) == 3
    assert len(set(on_cpu)) == 1
