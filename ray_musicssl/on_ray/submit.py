"""Send one stage to a running cluster as a Ray job: what is sent is listed first, secrets and data stay at home.

Conventions:
    The job runs `python jobs/<stage>.py ...` in the unpacked working directory; Ray puts that directory on the path of the
    job's driver and of its workers, so the package itself need not be installed on the cluster, only what it depends on.
    The token travels in a header that Ray reads from `RAY_AUTH_TOKEN_PATH` or `RAY_AUTH_TOKEN`; it is no parameter here.
"""

import asyncio
import ipaddress
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from ray_musicssl.errors import (
    ConfigError,
    DataError,
    DivergedError,
    EnvironmentFaultError,
    MusicsslError,
    ResumeRefusedError,
    StoppedError,
)
from ray_musicssl.on_ray.upload import Upload, planned_upload, write_archive
from ray_musicssl.progress import stderr
from ray_musicssl.registry import nearest

POLL_S = 1.0
MOST_MISSES = 600  # polls in a row without an answer, ten minutes or more, before following is given up
_LOOPBACK_NAMES = ("localhost", "ip6-localhost")
# Ray reads these first and would then send job and token elsewhere than the caller says.
_OVERRIDES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
# What Ray's client raises when the server is out of reach or answers with an error; OSError covers that of requests.
_NO_ANSWER = (OSError, RuntimeError, aiohttp.ClientError, AuthenticationError)
_ERRORS: dict[int, type[MusicsslError]] = {
    error.exit_code: error
    for error in (ConfigError, DataError, ResumeRefusedError, DivergedError, EnvironmentFaultError, StoppedError)
}


def submit(
    stage_argv: Sequence[str],
    *,
    address: str,
    working_dir: Path,
    submission_id: str | None,
    follow: bool,
    insecure: bool = False,
) -> str:
    """Run a stage on a cluster and give the job's submission id.

    Args:
        stage_argv: the words after `musicssl`, e.g. `["pretrain", "music2vec-demo", "--shards", "/mnt/shards"]`; paths are
            the cluster's.
        address: the job server, e.g. `http://127.0.0.1:8265`.
        working_dir: a checkout with `ray_musicssl/` and `jobs/`.
        submission_id: a name not used on that cluster before; None lets Ray choose one.
        follow: write the job's log to stdout and return when it has ended.
        insecure: allow plain http to another machine, where the token can be read on the way.

    Raises:
        ConfigError: if the stage has no job script, the address is not allowed, or too much would be sent.
        EnvironmentFaultError: if the job server cannot be reached, refuses the token or refuses the job.
        MusicsslError: with `follow`, if the job ended badly: the error of the job's own exit code.
        StoppedError: with `follow`, on Ctrl-C: the job goes on, and the message says how to follow it again.
    """
    check_address(address, insecure=insecure)
    upload = planned_upload(working_dir)
    entrypoint = _entrypoint(stage_argv, upload)
    _say(upload.summary())
    line = ["ray", "job", "submit", "--address", address, "--working-dir", str(upload.root)]
    line += ["--submission-id", submission_id] if submission_id else []
    _say(f"the same by hand: {shlex.join(line)} -- {entrypoint}")
    client = _client(address)
    with tempfile.TemporaryDirectory(prefix="musicssl-") as scratch:
        # The archive is ours, so that what is listed and what is sent cannot differ.
        archive = write_archive(upload, Path(scratch) / "working_dir.zip")
        try:
            job = client.submit_job(
                entrypoint=entrypoint, runtime_env={"working_dir": str(archive)}, submission_id=submission_id
            )
        except RuntimeError as error:
            raise EnvironmentFaultError(
                f"the job server at {address} refused the job: {_gist(error)}; a submission id can be used once, "
                f"so choose another or leave it out"
            ) from error
    _say(f"submitted {job}; follow: ray job logs --follow {job}; stop: ray job stop {job}")
    if follow:
        _follow(client, job)
    return job


def check_address(address: str, *, insecure: bool = False) -> None:
    """Check that the job server at `address` may be spoken to.

    Raises:
        ConfigError: if it is no http(s) URL, carries a password, is plain http to another machine, or is overruled by a
            variable of Ray's.
    """
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f'address "{address}" is not a job server\'s URL; write it like http://127.0.0.1:8265')
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            f"the address of {parts.hostname} carries a user name, password or query, which logs would show; "
            f"give the token by RAY_AUTH_TOKEN_PATH"
        )
    if parts.scheme == "http" and not insecure and not _is_loopback(parts.hostname):
        raise ConfigError(
            f'address "{address}" is plain http to another machine: the token could be read on the way; use https, an SSH '
            f"tunnel (ssh -L 8265:127.0.0.1:8265 {parts.hostname}) with http://127.0.0.1:8265, or --insecure"
        )
    for name in _OVERRIDES:
        other = os.environ.get(name)
        if other and other.rstrip("/") != address.rstrip("/"):
            raise ConfigError(f'{name}="{other}" would overrule the address "{address}"; unset it or make them equal')
        if other:
            return  # the first one that is set decides


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in _LOOPBACK_NAMES


def _entrypoint(stage_argv: Sequence[str], upload: Upload) -> str:
    """The job's shell command; every word is quoted."""
    stages = [Path(name).stem for name in upload.sizes_bytes if Path(name).match("jobs/*.py") and name.count("/") == 1]
    stage = stage_argv[0] if stage_argv else ""
    if stage not in stages:
        raise ConfigError(
            f'"{stage}" is no stage with a script in {upload.root / "jobs"}{nearest(stage, stages)}; '
            f"known: {', '.join(stages) or 'none, so give a checkout as the working directory'}"
        )
    return shlex.join(["python", f"jobs/{stage}.py", *stage_argv[1:]])


def _client(address: str) -> JobSubmissionClient:
    try:
        return JobSubmissionClient(address)
    except AuthenticationError as error:
        raise EnvironmentFaultError(
            f"the job server at {address} wants a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to a file with it"
        ) from error
    except (ConnectionError, RuntimeError) as error:
        raise EnvironmentFaultError(
            f"no job server answers at {address} ({error}); start one with cluster/local.sh or open the tunnel to it"
        ) from error


def _follow(client: JobSubmissionClient, job: str) -> None:
    """Write the job's log until it ends; raise the error of its exit code if it ended badly."""
    try:
        try:
            asyncio.run(_tail(client, job))
        except _NO_ANSWER as error:  # the connection broke, not the job
            _say(f"the log of {job} broke off ({_gist(error)}); waiting for its end. {_goes_on(job)}")
        ended = job_error(job, _wait(client, job))
    except KeyboardInterrupt:
        raise StoppedError(f"no longer following. {_goes_on(job)}, stop: ray job stop {job}") from None
    if ended is not None:
        raise ended


def _wait(client: JobSubmissionClient, job: str) -> JobDetails:
    """What the server says of the job once it has ended; a server out of reach for a while is asked again."""
    misses = 0
    while True:
        try:
            info = client.get_job_info(job)
        except _NO_ANSWER as error:
            misses += 1
            if misses == 1:
                _say(f"the job server does not answer ({_gist(error)}); asking again. {_goes_on(job)}")
            if misses == MOST_MISSES:
                raise EnvironmentFaultError(
                    f"the job server has not answered for {misses} polls ({_gist(error)}); open the tunnel to it "
                    f"again. {_goes_on(job)}"
                ) from error
        else:
            if info.status.is_terminal():
                return info
            misses = 0
        time.sleep(POLL_S)


def _goes_on(job: str) -> str:
    return f"Job {job} goes on; follow: ray job logs --follow {job}"


async def _tail(client: JobSubmissionClient, job: str) -> None:
    async for lines in client.tail_job_logs(job):
        sys.stdout.write(lines)
        sys.stdout.flush()


def job_error(job: str, info: JobDetails) -> MusicsslError | None:
    """The error that an ended job amounts to here, so that both exit with the same code; None if it succeeded."""
    status = str(info.status.value)
    if status == "SUCCEEDED":
        return None
    if status == "STOPPED":
        return StoppedError(f"job {job} was stopped; submit the same stage again and it goes on")
    kind = _ERRORS.get(info.driver_exit_code or 0, EnvironmentFaultError)
    code = "without an exit code" if info.driver_exit_code is None else f"with exit code {info.driver_exit_code}"
    return kind(f"job {job} ended as {status} {code} ({_gist(info.message)}); its log is `ray job logs {job}`")


def _gist(message: object) -> str:
    """The line of a server's message that says what happened: of a traceback the last error, else the first line."""
    lines = [line.strip() for line in str(message).splitlines() if len(line.strip()) > 1]
    errors = [line for line in lines if "Error: " in line]
    return errors[-1] if errors else (lines or ["no message"])[0].partition(", last available logs")[0]


def _say(text: str) -> None:
    stderr.print(text, highlight=False, markup=False, soft_wrap=True)
