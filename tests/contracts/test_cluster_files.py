"""The cluster files: they load, fit their schemas and keep to the security policy, which can be shown to fail."""

import copy
import json
import re
import stat
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
FILES = ("aws-a100.yaml", "kuberay-raycluster.yaml", "kuberay-rayjob.yaml", "kuberay-storage.yaml")
SECRET_VALUE = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN|\b[0-9a-f]{32,}\b|(password|secret|token)\w*\s*[:=]\s*['\"]?\w{12,}", re.IGNORECASE
)
SECRET_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|ACCESS_KEY)$")


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


def ray_version() -> str:
    """The release that the pin in pyproject.toml stands for: `ray[...]==2.60.*` is 2.60.0."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = [line for line in project["dependencies"] if re.match(r"ray\W", line)]
    return re.sub(r".*==(\d+\.\d+)\.\*", r"\1.0", pin)


def nodes(value: Any) -> Iterator[Any]:
    """Every value of a document, mappings and lists included."""
    yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


def text_faults(text: str) -> list[str]:
    code = "\n".join(line.split(" #")[0] for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = ["listens on all interfaces"] if re.search(r"0\.0\.0\.0|--host[ =]::|bind_all", code) else []
    found += ["LoadBalancer"] if "LoadBalancer" in code or "NodePort" in code else []
    found += ["a credential inline"] if SECRET_VALUE.search(code) else []
    return found


def image_faults(document: Any) -> list[str]:
    images = [
        value[key]
        for value in nodes(document)
        if isinstance(value, dict)
        for key in ("image", "head_image", "worker_image")
        if key in value
    ]
    allowed = {f"rayproject/ray:{ray_version()}-py311{suffix}" for suffix in ("", "-gpu")}
    return [f"image {image}" for image in images if image not in allowed]


def pod_faults(document: Any) -> list[str]:
    """What the pods of a KubeRay document may do beyond the policy."""
    found = []
    for pod in (value for value in nodes(document) if isinstance(value, dict) and "containers" in value):
        security = pod.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or security.get("runAsUser", 0) == 0:
            found.append("may run as root")
        for container in pod["containers"]:
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
                found.append(f"{container['name']} has privileges")
            if "requests" not in container.get("resources", {}):
                found.append(f"{container['name']} requests nothing")
            if "memory" not in container.get("resources", {}).get("limits", {}):
                found.append(f"{container['name']} has no memory limit")
            found += [
                f"{v['name']} inline"
                for v in container.get("env", [])
                if SECRET_NAME.search(v["name"]) and "value" in v
            ]
    return found


def kuberay_faults(document: Any) -> list[str]:
    spec = document["spec"].get("rayClusterSpec", document["spec"])
    found = pod_faults(document) + image_faults(document)
    found += [] if spec.get("authOptions") == {"mode": "token"} else ["no token auth"]
    found += [] if spec["rayVersion"] == ray_version() else [f"rayVersion {spec['rayVersion']}"]
    found += [] if spec["headGroupSpec"].get("serviceType") == "ClusterIP" else ["the head's service is open"]
    head = spec["headGroupSpec"]["template"]["spec"]["containers"][0]["resources"]
    found += ["the head takes a GPU"] if "nvidia.com/gpu" in head["limits"] else []
    for group in spec["workerGroupSpecs"]:
        resources = group["template"]["spec"]["containers"][0]["resources"]
        found += [] if int(resources["limits"]["nvidia.com/gpu"]) > 0 else ["workers without GPU"]
    claims = [value["claimName"] for value in nodes(spec) if isinstance(value, dict) and "claimName" in value]
    found += [] if claims == ["musicssl"] * (1 + len(spec["workerGroupSpecs"])) else ["no shared storage"]
    return found


def aws_faults(config: Any) -> list[str]:
    found = image_faults(config)
    head = config["available_node_types"][config["head_node_type"]]
    found += ["the head is on spot"] if "InstanceMarketOptions" in head["node_config"] else []
    start = " ".join(config["head_start_ray_commands"])
    found += [] if "--dashboard-host=127.0.0.1" in start else ["the dashboard is open"]
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [line for line in config[commands] if "ray start" in line]
        found += (
            [] if starts and all("RAY_AUTH_MODE=token" in line for line in starts) else [f"{commands}: no token auth"]
        )
    found += [] if "--user ray" in config["docker"]["run_options"] else ["may run as root"]
    found += [] if config["file_mounts"].get("/home/ray/.ray/auth_token") == "~/.ray/auth_token" else ["no token file"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_cluster_file_loads_and_says_nothing_forbidden(name):
    assert all(isinstance(document, dict) for document in documents(name))
    assert text_faults((CLUSTER / name).read_text()) == []


def test_no_cluster_file_escapes_these_checks():
    assert {path.name for path in CLUSTER.glob("*.y*ml")} == set(FILES)


@pytest.mark.parametrize("name", ["README.md", "local.sh"])
def test_the_other_files_hold_no_credential_and_open_nothing(name):
    assert text_faults((CLUSTER / name).read_text()) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("- ray start --head --dashboard-host=0.0.0.0", "listens on all interfaces"),
        ("tensorboard --bind_all", "listens on all interfaces"),
        ("serviceType: LoadBalancer", "LoadBalancer"),
        ("aws_access_key_id: AKIAABCDEFGHIJKLMNOP", "a credential inline"),
        ("RAY_AUTH_TOKEN=5f2b1c9d8e7a6f5b4c3d2e1f0a9b8c7d", "a credential inline"),
        ("password: 'correcthorsebattery'", "a credential inline"),
    ],
)
def test_the_text_policy_can_fail(line, fault):
    assert text_faults(f"a: 1\n{line}\n") == [fault]


@pytest.mark.parametrize("name", ["kuberay-raycluster.yaml", "kuberay-rayjob.yaml"])
def test_kuberay_files_keep_to_the_policy(name):
    (document,) = documents(name)
    assert kuberay_faults(document) == []


def head_pod(document: Any) -> Any:
    return document["spec"]["headGroupSpec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda d: d["spec"].pop("authOptions"), "no token auth"),
        (lambda d: d["spec"].update(rayVersion="2.53.0"), "rayVersion 2.53.0"),
        (lambda d: d["spec"]["headGroupSpec"].update(serviceType="LoadBalancer"), "the head's service is open"),
        (lambda d: head_pod(d).pop("securityContext"), "may run as root"),
        (lambda d: head_pod(d)["containers"][0].update(image="rayproject/ray:latest"), "image rayproject/ray:latest"),
        (lambda d: head_pod(d)["containers"][0].pop("securityContext"), "ray-head has privileges"),
        (lambda d: head_pod(d)["containers"][0]["resources"].pop("requests"), "ray-head requests nothing"),
        (lambda d: head_pod(d)["containers"][0]["env"].append({"name": "X_TOKEN", "value": "x"}), "X_TOKEN inline"),
        (lambda d: head_pod(d).update(volumes=[]), "no shared storage"),
    ],
)
def test_the_kuberay_policy_can_fail(damage: Callable[[Any], object], fault):
    (document,) = documents("kuberay-raycluster.yaml")
    document = json.loads(json.dumps(document))  # the YAML anchors are shared objects; a damage must stay in one place
    damage(document)
    assert kuberay_faults(document) == [fault]


def test_the_rayjob_tries_again_and_cleans_up():
    (document,) = documents("kuberay-rayjob.yaml")
    assert document["spec"]["backoffLimit"] >= 1
    assert document["spec"]["shutdownAfterJobFinishes"] is True
    entrypoint = document["spec"]["entrypoint"].split()
    assert entrypoint[0] == "python"
    assert (ROOT / entrypoint[1]).exists()
    assert yaml.safe_load(document["spec"]["runtimeEnvYAML"])["working_dir"].startswith("local:///nfs/")


def test_the_rayjobs_cluster_is_the_standing_one():
    (cluster,), (job,) = documents("kuberay-raycluster.yaml"), documents("kuberay-rayjob.yaml")
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]


def test_the_storage_is_shared_and_the_pods_are_fenced_in():
    claim, policy = documents("kuberay-storage.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (cluster,) = documents("kuberay-raycluster.yaml")
    fenced = policy["spec"]["podSelector"]["matchLabels"].items()
    spec = cluster["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert fenced <= group["template"]["metadata"]["labels"].items()


def test_the_aws_file_keeps_to_the_policy():
    (config,) = documents("aws-a100.yaml")
    assert aws_faults(config) == []


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda c: c["docker"].update(head_image="rayproject/ray:latest"), "image rayproject/ray:latest"),
        (
            lambda c: c["available_node_types"]["head"]["node_config"].update(InstanceMarketOptions={}),
            "the head is on spot",
        ),
        (lambda c: c.update(head_start_ray_commands=["RAY_AUTH_MODE=token ray start --head"]), "the dashboard is open"),
        (
            lambda c: c.update(worker_start_ray_commands=["ray start --address=x"]),
            "worker_start_ray_commands: no token auth",
        ),
        (lambda c: c["docker"].update(run_options=[]), "may run as root"),
        (lambda c: c.update(file_mounts={}), "no token file"),
    ],
)
def test_the_aws_policy_can_fail(damage: Callable[[Any], object], fault):
    (config,) = documents("aws-a100.yaml")
    damage(config)
    assert aws_faults(config) == [fault]


def test_the_aws_file_fits_rays_own_schema_which_refuses_an_unknown_field():
    jsonschema = pytest.importorskip("jsonschema")
    ray = pytest.importorskip("ray")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    (config,) = documents("aws-a100.yaml")
    jsonschema.validate(config, schema)
    damaged = copy.deepcopy(config) | {"idle_timeout": 10}
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        jsonschema.validate(damaged, schema)


def test_the_local_head_is_a_sound_script_that_stops_only_its_own():
    script = CLUSTER / "local.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert "ray stop" not in text
    assert "pkill" not in text
    for needed in (
        "umask 077",
        "RAY_AUTH_MODE=token",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0",
        "--dashboard-host 127.0.0.1",
        "--disable-usage-stats",
        "--object-store-memory",
        "--block",
    ):
        assert needed in text, needed
