"""The arithmetic of a thousand hours, from rates that are given."""

from benchmarks.scaling import NUM_CLUSTERS, Workload, rows_of
from ray_musicssl.clustering.pass_memory import PassMemory

HIDDEN = Workload(name="hidden", frame_rate=50, dim=768, seconds_per_audio_s=0)
MFCC = Workload(name="MFCC", frame_rate=100, dim=39, seconds_per_audio_s=1e-4)


def cells(work, *, adding_s=1e-5, labelling_s=1e-5):
    """The cells of a row for each number of nodes: making, a pass, a fit, labelling, results, disk, memory."""
    lines = rows_of(work, adding_s, labelling_s)
    return [[cell.strip() for cell in line.split("|")[3:-1]] for line in lines]


def test_hidden_frames_are_made_and_labelled_by_the_gpus_at_a_share_of_float32s_peak():
    one, four, _ = cells(HIDDEN)
    # 3.6 million s of 16.7 GFLOP each, at 40 % of 8 x 19.5 TFLOP/s; then 180 million frames of 2 x 2000 x 768 products.
    making_s = 3.6e6 * 16.7e9 / (8 * 0.4 * 19.5e12)
    labelling_s = 180e6 * 2 * 2000 * 768 / (8 * 0.4 * 19.5e12)
    assert one[0] == f"{making_s / 60:.1f} min" == "16.1 min"
    assert one[3] == f"{(making_s + labelling_s) / 60:.1f} min" == "16.2 min"
    assert four[3] == "4.1 min"


def test_frames_without_an_encoder_are_made_and_labelled_by_every_core():
    (one, *_) = cells(MFCC)
    assert one[0] == "11.2 s"  # 3.6 million s of 0.1 ms on 32 cores
    assert one[3] == "2.1 min"  # and 360 million frames of 10 us


def test_tasks_take_what_they_ask_for():
    memory = PassMemory(num_clusters=NUM_CLUSTERS, dim=768, block_frames=32_000)
    assert cells(HIDDEN)[0][6] == f"{32 * memory.task_bytes / 1e9:.0f} GB"
