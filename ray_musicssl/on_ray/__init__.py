"""The stages, on Ray. Only this package imports ray.

Ray reads its environment when it is first imported, so the defaults below are set before any module here imports it;
a variable that is already set wins.
"""

import os

_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_USE_DATASOURCE_V2": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # without this every print of a worker appears twice
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # it logs errors on machines that are never preempted
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # trials of a sweep keep the working directory
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's other output cannot be turned off
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # curves are in the runs; a second set under other names only confuses
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # what a scheduler watches and what a search maximises come apart
}
for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)
if not os.environ.get("RAY_ADDRESS"):
    # A cluster of this machine only: every socket listens on the loopback interface.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
