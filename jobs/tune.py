"""Train and probe every trial of a search space, on a cluster; the same line goes on after any stop.

ray job submit --working-dir . -- python jobs/tune.py tune_spaces/demo.yaml --shards /nfs/shards --run-dir /nfs/sweep --data /nfs/datasets
"""

import sys

from ray_musicssl.cli import main

if __name__ == "__main__":
    main(["tune", *sys.argv[1:]])
