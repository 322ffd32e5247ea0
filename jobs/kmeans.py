"""Fit the codebook of MusicHuBERT's targets, on a cluster.

ray job submit --working-dir . -- python jobs/kmeans.py --shards /nfs/shards --out /nfs/codebook
"""

import sys

from ray_musicssl.cli import main

if __name__ == "__main__":
    main(["kmeans", *sys.argv[1:]])
