"""How much of everything a demo corpus holds, by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitSizes:
    """Items in each split."""

    train: int
    valid: int
    test: int

    def by_split(self) -> tuple[tuple[str, int], ...]:
        """The splits' names and sizes, in order."""
        return (("train", self.train), ("valid", self.valid), ("test", self.test))


@dataclass(frozen=True, kw_only=True)
class DemoPreset:
    """Sizes of the pool and of the data sets in miniature."""

    about: str
    pool_songs: int
    pool_song_s: float
    gtzan_per_genre: SplitSizes
    gtzan_song_s: float
    num_keys: int  # of 24; a divisor of it
    tracks_per_key: SplitSizes
    key_track_s: float
    nsynth_notes: SplitSizes
    nsynth_note_s: float
    emomusic_clips: SplitSizes
    emomusic_clip_s: float


PRESETS = {
    "tiny": DemoPreset(
        about="for tests: a minute and a half of pool, a few files a split",
        pool_songs=6,
        pool_song_s=15.0,
        gtzan_per_genre=SplitSizes(1, 1, 1),
        gtzan_song_s=4.0,
        num_keys=6,
        tracks_per_key=SplitSizes(2, 1, 1),
        key_track_s=3.0,
        nsynth_notes=SplitSizes(24, 8, 8),
        nsynth_note_s=1.0,
        emomusic_clips=SplitSizes(10, 5, 5),
        emomusic_clip_s=5.0,
    ),
    "demo": DemoPreset(
        about="the paper in miniature: one hour of pool, 79 minutes of data sets",
        pool_songs=120,
        pool_song_s=30.0,
        gtzan_per_genre=SplitSizes(20, 4, 9),
        gtzan_song_s=6.0,
        num_keys=24,
        tracks_per_key=SplitSizes(8, 2, 4),
        key_track_s=5.0,
        nsynth_notes=SplitSizes(400, 100, 200),
        nsynth_note_s=1.5,
        emomusic_clips=SplitSizes(140, 30, 80),
        emomusic_clip_s=5.0,
    ),
    "small": DemoPreset(
        about="for an hour's training: four hours of pool, longer clips",
        pool_songs=480,
        pool_song_s=30.0,
        gtzan_per_genre=SplitSizes(17, 6, 13),
        gtzan_song_s=15.0,
        num_keys=24,
        tracks_per_key=SplitSizes(15, 5, 8),
        key_track_s=10.0,
        nsynth_notes=SplitSizes(600, 150, 300),
        nsynth_note_s=2.5,
        emomusic_clips=SplitSizes(240, 60, 120),
        emomusic_clip_s=10.0,
    ),
}
