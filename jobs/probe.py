"""Score a pre-trained encoder on the downstream tasks, on a cluster.

ray job submit --working-dir . -- python jobs/probe.py /nfs/runs/a --tasks all --data /nfs/datasets --cache /nfs/cache
"""

import sys

from ray_musicssl.cli import main

if __name__ == "__main__":
    main(["probe", *sys.argv[1:]])
