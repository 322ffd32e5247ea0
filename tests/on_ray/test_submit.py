"""Sending a job: what is sent, to whom, and how its end is told."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import requests

pytest.importorskip("aiohttp")

import aiohttp
from ray.job_submission import JobStatus

from ray_musicssl.errors import ConfigError, DataError, EnvironmentFaultError, StoppedError
from ray_musicssl.on_ray import submit as submitting

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in ("jobs/pretrain.py", "ray_musicssl/__init__.py", ".env"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.fixture(autouse=True)
def _no_cluster_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:8265",
        "http://localhost:8265/",
        "http://[::1]:8265",
        "http://127.9.9.9:1",
        "https://ray.example",
    ],
)
def test_loopback_and_https_are_allowed(address):
    submitting.check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://10.0.0.5:8265",
        "http://ray.example:8265",
        "http://0.0.0.0:8265",
        "http://127.0.0.1.example",
        "http://[::]:8265",
    ],
)
def test_plain_http_to_another_machine_is_refused_unless_insecure(address):
    with pytest.raises(ConfigError, match="--insecure"):
        submitting.check_address(address)
    submitting.check_address(address, insecure=True)


@pytest.mark.parametrize("address", ["", "auto", "127.0.0.1:8265", "ray://127.0.0.1:10001", "file:///etc/passwd"])
def test_what_is_no_job_servers_url_is_refused(address):
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:8265"):
        submitting.check_address(address)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="RAY_AUTH_TOKEN_PATH") as caught:
        submitting.check_address("https://me:hunter2@ray.example")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"])
def test_a_variable_that_would_overrule_the_address_is_refused(name, monkeypatch):
    monkeypatch.setenv(name, "http://10.0.0.5:8265")
    with pytest.raises(ConfigError, match=f'{name}="http://10.0.0.5:8265" would overrule'):
        submitting.check_address("http://127.0.0.1:8265")
    monkeypatch.setenv(name, "http://127.0.0.1:8265")
    submitting.check_address("http://127.0.0.1:8265/")


class Server:
    """Stands for the job server's client: notes what it is sent, and lets the job end as told."""

    def __init__(self, status: str = "SUCCEEDED", exit_code: int | None = 0) -> None:
        self.sent: dict[str, Any] = {}
        self.names: list[str] = []
        self.status, self.exit_code = status, exit_code

    def submit_job(self, **job: Any) -> str:
        self.sent = job
        with zipfile.ZipFile(job["runtime_env"]["working_dir"]) as archive:
            self.names = archive.namelist()
        return job["submission_id"] or "chosen-by-ray"

    async def tail_job_logs(self, job: str):
        yield f"log of {job}\n"

    def get_job_info(self, job: str) -> Any:
        return SimpleNamespace(
            status=JobStatus(self.status), driver_exit_code=self.exit_code, message="said so\nand more"
        )


def send(checkout: Path, argv: list[str], *, follow: bool = False, submission_id: str | None = None) -> str:
    return submitting.submit(
        argv, address="http://127.0.0.1:8265", working_dir=checkout, submission_id=submission_id, follow=follow
    )


def test_a_job_gets_the_listed_files_the_interpreter_and_quoted_words(checkout, monkeypatch, capsys):
    server = Server()
    monkeypatch.setattr(submitting, "JobSubmissionClient", lambda address: server)
    assert send(checkout, ["pretrain", "music2vec-demo", "--shards", "/nfs/my shards; rm -rf x"]) == "chosen-by-ray"
    assert server.sent["entrypoint"] == "python jobs/pretrain.py music2vec-demo --shards '/nfs/my shards; rm -rf x'"
    assert server.names == ["jobs/pretrain.py", "ray_musicssl/__init__.py"]
    assert list(server.sent["runtime_env"]) == ["working_dir"]  # no variables: a token could be among them
    told = capsys.readouterr().err
    assert f"ray job submit --address http://127.0.0.1:8265 --working-dir {checkout} -- python jobs/pretrain.py" in told
    assert "2 files" in told


def test_an_unknown_stage_is_refused_before_anything_is_sent(checkout, monkeypatch):
    monkeypatch.setattr(submitting, "JobSubmissionClient", lambda address: pytest.fail("a client was made"))
    with pytest.raises(ConfigError, match=r'"pretrian" is no stage(.*)did you mean "pretrain"'):
        send(checkout, ["pretrian"])


def test_following_gives_the_log_and_the_id(checkout, monkeypatch, capsys):
    monkeypatch.setattr(submitting, "JobSubmissionClient", lambda address: Server())
    assert send(checkout, ["pretrain"], follow=True, submission_id="night-1") == "night-1"
    assert capsys.readouterr().out == "log of night-1\n"


@pytest.mark.parametrize(
    ("status", "exit_code", "error"),
    [
        ("STOPPED", None, StoppedError),
        ("FAILED", 75, StoppedError),
        ("FAILED", 3, DataError),
        ("FAILED", 1, EnvironmentFaultError),
        ("FAILED", None, EnvironmentFaultError),
    ],
)
def test_a_job_that_ends_badly_ends_the_command_with_the_jobs_own_code(checkout, monkeypatch, status, exit_code, error):
    monkeypatch.setattr(submitting, "JobSubmissionClient", lambda address: Server(status, exit_code))
    with pytest.raises(error, match="night-2"):
        send(checkout, ["pretrain"], follow=True, submission_id="night-2")


class Unreachable(Server):
    """Out of reach for a number of polls, after the log has broken off."""

    def __init__(self, num_misses: int, error: Exception) -> None:
        super().__init__()
        self.misses, self.error = num_misses, error

    async def tail_job_logs(self, job: str):
        yield "half a log\n"
        raise self.error

    def get_job_info(self, job: str) -> Any:
        self.misses -= 1
        if self.misses >= 0:
            raise self.error
        return super().get_job_info(job)


LOST = (requests.ConnectionError("refused"), RuntimeError("status code 502"), aiohttp.ClientError("gone"))


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_tunnel_that_drops_is_waited_for_while_the_job_goes_on(checkout, monkeypatch, capsys, error):
    server = Unreachable(3, error)
    monkeypatch.setattr(submitting, "JobSubmissionClient", lambda address: server)
    monkeypatch.setattr(submitting, "POLL_S", 0)
    assert send(checkout, ["pretrain"], follow=True, submission_id="night-3") == "night-3"
    assert server.misses == -1
    told = capsys.readouterr().err
    assert f"the job server does not answer ({error}); asking again. Job night-3 goes on" in told
    assert told.count("asking again") == 1


def test_a_server_that_stays_away_ends_the_command_and_not_the_job(checkout, monkeypatch):
    monkeypatch.setattr(submitting, "JobSubmissionClient", lambda address: Unreachable(4, LOST[0]))
    monkeypatch.setattr(submitting, "POLL_S", 0)
    monkeypatch.setattr(submitting, "MOST_MISSES", 4)
    with pytest.raises(
        EnvironmentFaultError, match=r"for 4 polls .*Job night-4 goes on; follow: ray job logs --follow"
    ):
        send(checkout, ["pretrain"], follow=True, submission_id="night-4")


@pytest.mark.parametrize("where", ["tail_job_logs", "get_job_info"])
def test_ctrl_c_says_that_the_job_goes_on_and_how_to_follow_it(checkout, monkeypatch, where):
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    server = Server()
    setattr(server, where, interrupt)
    monkeypatch.setattr(submitting, "JobSubmissionClient", lambda address: server)
    with pytest.raises(
        StoppedError, match=r"Job night-5 goes on; follow: ray job logs --follow night-5, stop: ray job stop"
    ):
        send(checkout, ["pretrain"], follow=True, submission_id="night-5")


def test_a_server_that_does_not_answer_is_an_environment_fault(checkout):
    with pytest.raises(EnvironmentFaultError, match=r"no job server answers at http://127\.0\.0\.1:9 "):
        submitting.submit(
            ["pretrain"], address="http://127.0.0.1:9", working_dir=checkout, submission_id=None, follow=False
        )


@pytest.fixture
def local_head() -> Iterator[dict[str, str]]:
    """`cluster/local.sh` as a person runs it; gives the variables it prints and ends it as Ctrl-C does."""
    environment = os.environ | {"MUSICSSL_NUM_CPUS": "2", "MUSICSSL_OBJECT_STORE_BYTES": "100000000"}
    script = subprocess.Popen(
        [str(ROOT / "cluster" / "local.sh")],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (a background run ignores it)
    )
    assert script.stdout is not None
    printed: dict[str, str] = {"pid": str(script.pid)}
    for line in script.stdout:
        if line.startswith("# or: source"):
            break
        printed |= dict(re.findall(r"^export (\w+)=(.*)$", line))
    family = [psutil.Process(script.pid), *psutil.Process(script.pid).children(recursive=True)]
    try:
        yield printed
    finally:
        os.killpg(script.pid, signal.SIGINT)
        script.wait(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []


@pytest.mark.ray
def test_a_job_runs_on_the_local_head_which_is_private(local_head, tmp_path):
    address = local_head["RAY_API_SERVER_ADDRESS"]
    token_path = Path(local_head["RAY_AUTH_TOKEN_PATH"])
    refused = [
        requests.request(method, f"{address}/api/jobs/{job}", timeout=10).status_code
        for method, job in (("GET", ""), ("POST", ""), ("DELETE", "some-job"), ("GET", "some-job/logs"))
    ]
    assert refused == [401] * 4
    assert stat.S_IMODE(token_path.stat().st_mode) == 0o600
    family = psutil.Process(int(local_head["pid"])).children(recursive=True)
    listening = {c.laddr.ip for p in family for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}

    (tmp_path / "jobs").mkdir()
    (tmp_path / "known_here.py").write_text("ANSWER = 42\n")
    (tmp_path / "jobs" / "ask.py").write_text("import known_here, os\nprint(known_here.ANSWER, sorted(os.listdir()))\n")
    (tmp_path / ".env").write_text("SECRET=1\n")
    code = (
        "from pathlib import Path; from ray_musicssl.on_ray.submit import submit;"
        f"submit(['ask'], address={address!r}, working_dir=Path({str(tmp_path)!r}), submission_id='one', follow=True)"
    )
    environment = os.environ | {name: value for name, value in local_head.items() if name.startswith("RAY_")}
    sent = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert sent.returncode == 0, sent.stderr
    assert "42 ['jobs', 'known_here.py']" in sent.stdout
    assert token_path.read_text() not in sent.stdout + sent.stderr + json.dumps([p.cmdline() for p in family])
