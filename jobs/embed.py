"""Turn audio into embeddings, on a cluster.

ray job submit --working-dir . -- python jobs/embed.py /nfs/runs/a --audio /nfs/audio --out /nfs/embeddings
"""

import sys

from ray_musicssl.cli import main

if __name__ == "__main__":
    main(["embed", *sys.argv[1:]])
