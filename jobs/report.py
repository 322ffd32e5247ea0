"""Write the report of a run, on a cluster.

ray job submit --working-dir . -- python jobs/report.py /nfs/runs/a
"""

import sys

from ray_musicssl.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
