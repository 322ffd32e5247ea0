"""Pre-train an encoder, on a cluster; the same line again goes on from the last checkpoint.

ray job submit --working-dir . -- python jobs/pretrain.py music2vec-vanilla --shards /nfs/shards --run-dir /nfs/runs/a
"""

import sys

from ray_musicssl.cli import main

if __name__ == "__main__":
    main(["pretrain", *sys.argv[1:]])
