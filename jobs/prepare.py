"""Cut audio files into shards, on a cluster.

ray job submit --working-dir . -- python jobs/prepare.py --audio /nfs/audio --out /nfs/shards
"""

import sys

from ray_musicssl.cli import main

if __name__ == "__main__":
    main(["prepare", *sys.argv[1:]])
