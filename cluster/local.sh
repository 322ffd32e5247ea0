#!/usr/bin/env bash
# A Ray head on this machine for trying `ray job submit`: loopback only, token required, gone after Ctrl-C.
#
#   cluster/local.sh            then, in another terminal, the `export` lines it prints
#
# Settings (environment variables; the defaults are free ports and a bounded memory):
#   MUSICSSL_GCS_PORT MUSICSSL_DASHBOARD_PORT MUSICSSL_CLIENT_PORT MUSICSSL_AGENT_PORT   ports on 127.0.0.1
#   MUSICSSL_NUM_CPUS            logical CPUs (the machine's cores)
#   MUSICSSL_OBJECT_STORE_BYTES  object store (500 MB)
#   MUSICSSL_CLUSTER_DIR         a new, short directory for token and logs (a temporary one, removed at the end)
#   MUSICSSL_START_TIMEOUT_S     how long to wait for the job server (120)
set -euo pipefail
umask 077

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ -x "$root/.venv/bin/ray" ]]; then
  PATH="$root/.venv/bin:$PATH"
fi
if ! command -v ray >/dev/null; then
  echo "local.sh: no \`ray\` in $root/.venv/bin or on PATH; run \`make demo\` or activate your environment" >&2
  exit 6
fi

# `python job.py` inside a job is the first python on PATH, so the environment's own directory leads it here as well.
ray_bin="$(command -v ray)"
export PATH="$(dirname "$ray_bin"):$PATH"
python="$(dirname "$ray_bin")/python"

# The port a variable names must be free; a default that is taken gives way to any free one.
port_from() {
  "$python" - "$1" "$2" <<'PYTHON'
import os
import socket
import sys

name, default = sys.argv[1:]
for port in [int(os.environ[name])] if name in os.environ else [int(default), 0]:
    with socket.socket() as candidate:
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError as error:
            reason = error
            continue
        print(candidate.getsockname()[1])
        break
else:
    sys.exit(f"local.sh: {name}={os.environ[name]} cannot be used ({reason}); choose another or leave it unset")
PYTHON
}
gcs_port="$(port_from MUSICSSL_GCS_PORT 6379)" || exit 2
dashboard_port="$(port_from MUSICSSL_DASHBOARD_PORT 8265)" || exit 2
client_port="$(port_from MUSICSSL_CLIENT_PORT 10001)" || exit 2
agent_port="$(port_from MUSICSSL_AGENT_PORT 52365)" || exit 2
num_cpus="${MUSICSSL_NUM_CPUS:-$("$python" -c 'import os; print(os.cpu_count() or 1)')}"
store_bytes="${MUSICSSL_OBJECT_STORE_BYTES:-500000000}"
timeout_s="${MUSICSSL_START_TIMEOUT_S:-120}"

# The directory is short because Ray's socket names below it must stay within 107 bytes.
if [[ -n "${MUSICSSL_CLUSTER_DIR:-}" ]]; then
  dir="$MUSICSSL_CLUSTER_DIR"
  is_temporary=0
  mkdir "$dir" || { echo "local.sh: MUSICSSL_CLUSTER_DIR=$dir must not exist yet; choose a new one" >&2; exit 2; }
else
  dir="$(mktemp -d /tmp/mssl-XXXXXX)"
  is_temporary=1
fi

unset RAY_ADDRESS RAY_API_SERVER_ADDRESS RAY_AUTH_TOKEN
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$dir/token" RAY_USAGE_STATS_ENABLED=0
# Despite its name this makes every socket listen on 127.0.0.1 alone; `--node-ip-address` does not.
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0
"$python" -c 'import secrets; print(secrets.token_hex(32), end="")' > "$dir/token"

head_pid=""
clean_up() {
  trap - EXIT INT TERM
  if [[ -n "$head_pid" ]]; then
    kill -TERM "$head_pid" 2>/dev/null || true
    wait "$head_pid" 2>/dev/null || true
    kill -KILL -- "-$head_pid" 2>/dev/null || true # what it left behind in its own process group
  fi
  # A worker may have a group of its own; what names this run's directory in its command line is this run's.
  local left
  left="$(pgrep -u "$(id -u)" -f -- "$dir/" || true)"
  if [[ -n "$left" ]]; then
    # shellcheck disable=SC2086  # one word a process
    kill -KILL $left 2>/dev/null || true
  fi
  rm -f "$dir/token" "$dir/env"
  if [[ "$is_temporary" == 1 ]]; then
    rm -rf "$dir"
  fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Its own process group (`set -m`): a Ctrl-C must reach this script alone, which then ends the head in good order.
# A head that is interrupted directly leaves parts of its dashboard behind.
set -m
"$ray_bin" start --head --block --disable-usage-stats \
  --port "$gcs_port" --ray-client-server-port "$client_port" --dashboard-agent-listen-port "$agent_port" \
  --include-dashboard true --dashboard-host 127.0.0.1 --dashboard-port "$dashboard_port" \
  --num-cpus "$num_cpus" --object-store-memory "$store_bytes" --temp-dir "$dir/ray" > "$dir/head.log" 2>&1 &
head_pid=$!
set +m

# Ready is when the job server answers: 200 to this head's token, 401 to none; anything else would be a mistake of ours.
job_server_answers() {
  "$python" - "http://127.0.0.1:$dashboard_port/api/jobs/" "$dir/token" <<'PYTHON'
import pathlib
import sys
import urllib.error
import urllib.request

url, token_path = sys.argv[1:]
answers = []
for headers in ({}, {"Authorization": f"Bearer {pathlib.Path(token_path).read_text()}"}):
    try:
        answers.append(urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5).status)
    except urllib.error.HTTPError as error:
        answers.append(error.code)
    except OSError:
        answers.append(0)
print(*answers)
PYTHON
}
answers="0 0"
deadline=$((SECONDS + timeout_s))
while [[ "$answers" == *" 0" || "$answers" == "0 "* ]]; do
  if ! kill -0 "$head_pid" 2>/dev/null || ((SECONDS > deadline)); then
    echo "local.sh: the head did not start; the end of its log:" >&2
    tail -n 20 "$dir/head.log" >&2
    exit 6
  fi
  sleep 0.5
  answers="$(job_server_answers)"
done
if [[ "$answers" != "401 200" ]]; then
  echo "local.sh: the job server answered $answers, not 401 without and 200 with the token; stopping it" >&2
  exit 6
fi

cat > "$dir/env" <<EOF_ENV
export RAY_API_SERVER_ADDRESS=http://127.0.0.1:$dashboard_port
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH=$dir/token
export RAY_USAGE_STATS_ENABLED=0
EOF_ENV
echo "# Ray head on 127.0.0.1:$gcs_port with $num_cpus CPUs, logs in $dir/ray; Ctrl-C ends it. In another terminal:"
cat "$dir/env"
echo "# or: source $dir/env"
wait "$head_pid"
