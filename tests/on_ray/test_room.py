"""What a run asks of a cluster, against what the cluster has."""

import logging
from contextlib import nullcontext

import pytest
import ray

from ray_musicssl.config.scaling import ScalingConfig
from ray_musicssl.errors import EnvironmentFaultError
from ray_musicssl.on_ray import pretrain
from ray_musicssl.on_ray.room import check_room, memory_to_ask_for, runs_at_once, trial_cpus


@pytest.fixture
def cluster_with(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def build(**resources):
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"memory": 1e9, **resources})
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": resources}])

    return build


def scaling(num_workers, threads_per_worker=1, *, use_gpu=False):
    return ScalingConfig(num_workers=num_workers, threads_per_worker=threads_per_worker, use_gpu=use_gpu)


@pytest.mark.parametrize(
    ("has", "wanted"),
    [
        ({"CPU": 2}, scaling(2)),
        ({"CPU": 2}, scaling(3)),  # 1.5 for the workers, 0.25 for a reader
        ({"CPU": 8.25, "GPU": 8}, scaling(8, 2, use_gpu=True)),
    ],
)
def test_a_run_that_fits_is_let_through(cluster_with, has, wanted):
    cluster_with(**has)
    check_room(wanted)


@pytest.mark.parametrize(
    ("has", "wanted", "lacking"),
    [
        ({"CPU": 2}, scaling(2, 2), r"threads_per_worker=2 .* need 2\.25 CPUs \(it has 2\)"),
        ({"CPU": 1}, scaling(2), r"num_workers=2 .* need 1\.25 CPUs \(it has 1\)"),
        ({"CPU": 8}, scaling(1, use_gpu=True), r"use_gpu=true need 1 GPUs \(it has 0\)"),
        ({"CPU": 1, "GPU": 1}, scaling(2, use_gpu=True), r"1\.25 CPUs \(it has 1\) and 2 GPUs \(it has 1\)"),
    ],
)
def test_a_run_that_would_wait_for_ever_is_refused_with_the_setting_and_what_is_there(
    cluster_with, has, wanted, lacking
):
    cluster_with(**has)
    with pytest.raises(EnvironmentFaultError, match=lacking):
        check_room(wanted)


def test_a_task_asks_for_its_memory_but_never_for_more_than_the_largest_node_has(cluster_with, caplog):
    cluster_with(CPU=2, memory=4e9)
    assert memory_to_ask_for(4_000_000_000, "a fit") == 4_000_000_000
    assert not caplog.text
    assert memory_to_ask_for(4_500_000_000, "a fit") == 4_000_000_000
    assert "a fit takes about 4.5 GB but no node has more than 4.0 GB free for tasks" in caplog.text
    cluster_with(memory=1e9)  # a head that runs no tasks; other nodes are on their way
    assert memory_to_ask_for(4_500_000_000, "a fit") == 4_500_000_000


def test_a_cluster_that_may_grow_is_only_warned_of(cluster_with, monkeypatch, caplog):
    cluster_with(CPU=1)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with caplog.at_level(logging.WARNING):
        check_room(scaling(2))
    assert "need 1.25 CPUs (it has 1) of the cluster; the run waits until it has grown" in caplog.text


def test_a_run_looks_for_room_before_it_starts(tiny, tmp_path, cluster_with, monkeypatch):
    cluster_with(CPU=1)
    monkeypatch.setattr(pretrain, "session", nullcontext)
    monkeypatch.setattr(pretrain.TorchTrainer, "fit", lambda _trainer: pytest.fail("it started without room"))
    with pytest.raises(EnvironmentFaultError, match=r"need 1\.25 CPUs \(it has 1\)"):
        tiny.train(tmp_path / "run", "scaling.num_workers=2")


@pytest.mark.parametrize(
    ("has", "wanted", "count"),
    [
        ({"CPU": 2}, [scaling(1)], 2),  # 0.5 for the worker, 0.25 for a reader, 0.05 for itself: 0.8
        ({"CPU": 2}, [scaling(2), scaling(1)], 1),  # the largest decides: 1.3
        ({"CPU": 2}, [scaling(0)], 4),  # it trains in its own process: half a CPU; nothing comes after it
        ({"CPU": 96, "GPU": 16}, [scaling(8, use_gpu=True)], 2),
        ({"CPU": 8, "GPU": 16}, [scaling(8, use_gpu=True)], 1),  # 4.3 CPUs each
    ],
)
def test_as_many_runs_train_at_once_as_the_cluster_holds_with_all_their_workers(cluster_with, has, wanted, count):
    cluster_with(**has)
    assert runs_at_once(wanted, own_cpus=0.05) == count


def test_runs_of_which_one_alone_does_not_fit_are_refused(cluster_with):
    cluster_with(CPU=2)
    with pytest.raises(EnvironmentFaultError, match=r"scaling\.num_workers=4"):
        runs_at_once([scaling(1), scaling(4)], own_cpus=0.05)


@pytest.mark.parametrize(
    ("has", "wanted", "count"),
    [
        ({"CPU": 2}, [scaling(0)], 2),  # 2 x 0.5 held leave 1; of 3 none could ever be probed
        ({"CPU": 8}, [scaling(0, 2)], 7),
        ({"CPU": 8}, [scaling(0, 2), scaling(1)], 7),  # the one that holds most decides
        ({"CPU": 2}, [scaling(1)], 2),  # its worker has let go by then: 2 x 0.05 held
        ({"CPU": 1.5}, [scaling(0)], 1),
    ],
)
def test_runs_that_are_probed_leave_a_whole_cpu_for_a_task_whatever_they_hold(cluster_with, has, wanted, count):
    cluster_with(**has)
    found = runs_at_once(wanted, own_cpus=0.05, task_cpus=1.0)
    assert found == count
    assert has["CPU"] - found * max(trial_cpus(each, 0.05) for each in wanted) >= 1


@pytest.mark.parametrize(("has", "wanted"), [(1, scaling(0)), (1, scaling(1)), (2, scaling(0, 3))])
def test_a_run_beside_which_no_probe_could_ever_start_is_refused_before_it_trains(
    cluster_with, monkeypatch, has, wanted
):
    cluster_with(CPU=has)
    assert runs_at_once([wanted], own_cpus=0.05) >= 1
    with pytest.raises(
        EnvironmentFaultError, match=rf"its probes ask for 1 each, but the cluster's nodes have {has}; "
    ):
        runs_at_once([wanted], own_cpus=0.05, task_cpus=1.0)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert runs_at_once([wanted], own_cpus=0.05, task_cpus=1.0) == 1


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ((1, 1, 1), 2),  # a third process could hold a piece of the last whole CPU
        ((1, 1), 1),
        ((2, 0.5), 2),  # two of 0.5 leave one CPU of the first node; a third would not, and the second never has one
    ],
)
def test_runs_on_small_nodes_leave_one_node_a_whole_cpu_wherever_they_are(cluster_with, monkeypatch, sizes, count):
    cluster_with(CPU=float(sum(sizes)))
    nodes = [{"Alive": True, "Resources": {"CPU": float(size)}} for size in sizes]
    monkeypatch.setattr(ray, "nodes", lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 64.0}}])
    assert runs_at_once([scaling(0)], own_cpus=0.5, task_cpus=1.0) == count
