"""How much memory a task of a pass over blocks takes, and so how many blocks one task may add up.

Conventions:
    Bytes are those of a process's resident size. A task works on one block at a time; of the blocks before it only sums
    wait, one for each level of the tree, so a larger group of blocks takes more memory, and must not take much more.

Source: the largest resident size of one task on one block, measured on the CPU: 0.63 GB for 2,000 clusters of 39 dimensions,
    0.81 for 5,000 of 768, 1.01 for 10,000, 1.36 for 20,000 and 2.01 for 40,000. What is counted here is at most 10 % more,
    and at most 2 % less.
"""

from dataclasses import dataclass

from ray_musicssl.clustering.block_files import FRAME_TYPE, slab_rows
from ray_musicssl.clustering.tree import MOST_PARTS_A_GROUP

PROCESS_BYTES = 600_000_000  # with its libraries, torch and Ray most of all
RESULTS_AT_ONCE = 3  # a block's sums, those of its next slab, and the product that they are added up from
COPIES_AT_ONCE = 5  # of the centroids in float32: themselves, the products' weights, what the 8-bit product keeps
SCORE_ROWS, SCORE_BYTES = 256, 13  # rows scored at once; bytes of each row and cluster, with those of the 8-bit product
MOST_WAITING = 0.1  # of what one block takes, so that ten times the frames take no more than 1.15 times the memory


@dataclass(frozen=True, kw_only=True)
class PassMemory:
    """What a task of a pass takes."""

    num_clusters: int
    dim: int
    block_frames: int  # of the largest block

    @property
    def result_bytes(self) -> int:
        """One `ClusterSums`; no other pass has larger results."""
        return 8 * self.num_clusters * self.dim

    @property
    def block_bytes(self) -> int:
        """A task on one block."""
        slab = min(slab_rows(self.num_clusters, self.dim), self.block_frames) * self.dim
        copies = COPIES_AT_ONCE * self.num_clusters * self.dim
        scores = SCORE_BYTES * SCORE_ROWS * self.num_clusters
        return PROCESS_BYTES + (slab + copies) * FRAME_TYPE.itemsize + scores + RESULTS_AT_ONCE * self.result_bytes

    @property
    def blocks_a_group(self) -> int:
        """Most blocks that one task adds up, a power of two."""
        size = MOST_PARTS_A_GROUP
        while self._waiting_bytes(size) > MOST_WAITING * self.block_bytes:
            size //= 2
        return size

    @property
    def task_bytes(self) -> int:
        """A task on a group of so many blocks."""
        return self.block_bytes + self._waiting_bytes(self.blocks_a_group)

    def _waiting_bytes(self, num_blocks: int) -> int:
        """The sums that wait while the last of a power of two of blocks is worked on."""
        return (num_blocks.bit_length() - 1) * self.result_bytes
