"""Run every stage from audio to report, on a cluster.

ray job submit --working-dir . -- python jobs/pipeline.py --audio /nfs/audio --out /nfs/paper --data /nfs/datasets
"""

import sys

from ray_musicssl.cli import main

if __name__ == "__main__":
    main(["pipeline", *sys.argv[1:]])
