"""Give every frame of the shards its cluster, on a cluster.

ray job submit --working-dir . -- python jobs/label.py --shards /nfs/shards --codebook /nfs/codebook
"""

import sys

from ray_musicssl.cli import main

if __name__ == "__main__":
    main(["label", *sys.argv[1:]])
