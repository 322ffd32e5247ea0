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

    about: str  # says how much audio there is; a test adds it up
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
    magnatagatune_clips: SplitSizes
    magnatagatune_clip_s: float
    vocalset_per_singer: int  # recordings; the data set has no split of its own
    vocalset_recording_s: float
    jamendo_tracks: SplitSizes
    jamendo_track_s: float
    jamendo_long_s: float = 0.0  # of one track in twelve, so that it has several windows; 0: none


PRESETS = {
    "tiny": DemoPreset(
        about="for tests: 1.5 minutes of pool, 6.9 minutes of data sets",
        pool_songs=6,
        pool_song_s=15.0,
        gtzan_per_genre=SplitSizes(1, 1, 1),
        gtzan_song_s=4.0,
        num_keys=6,
        tracks_per_key=SplitSizes(2, 1, 1),
        key_track_s=1.5,
        nsynth_notes=SplitSizes(24, 10, 10),
        nsynth_note_s=1.0,
        emomusic_clips=SplitSizes(10, 5, 5),
        emomusic_clip_s=2.6,
        magnatagatune_clips=SplitSizes(20, 10, 10),
        magnatagatune_clip_s=1.2,
        vocalset_per_singer=3,
        vocalset_recording_s=1.1,
        jamendo_tracks=SplitSizes(20, 10, 10),
        jamendo_track_s=1.2,
    ),
    # Probes learn more from many short clips than from a few long ones: lengths are about the shortest that still tell.
    "demo": DemoPreset(
        about="the paper in miniature: 60 minutes of pool, 25 minutes of data sets",
        pool_songs=120,
        pool_song_s=30.0,
        gtzan_per_genre=SplitSizes(6, 1, 3),
        gtzan_song_s=4.0,
        num_keys=24,
        tracks_per_key=SplitSizes(3, 1, 2),
        key_track_s=2.0,
        nsynth_notes=SplitSizes(104, 24, 65),
        nsynth_note_s=1.0,
        emomusic_clips=SplitSizes(40, 10, 26),
        emomusic_clip_s=2.6,
        magnatagatune_clips=SplitSizes(46, 18, 30),
        magnatagatune_clip_s=1.3,
        vocalset_per_singer=8,
        vocalset_recording_s=1.1,
        jamendo_tracks=SplitSizes(46, 18, 30),
        jamendo_track_s=1.3,
    ),
    "small": DemoPreset(
        about="for an hour's training: 240 minutes of pool, 119 minutes of data sets",
        pool_songs=480,
        pool_song_s=30.0,
        gtzan_per_genre=SplitSizes(15, 4, 9),
        gtzan_song_s=6.5,
        num_keys=24,
        tracks_per_key=SplitSizes(8, 2, 5),
        key_track_s=4.0,
        nsynth_notes=SplitSizes(350, 70, 180),
        nsynth_note_s=1.5,
        emomusic_clips=SplitSizes(60, 15, 35),
        emomusic_clip_s=7.6,
        magnatagatune_clips=SplitSizes(106, 24, 50),
        magnatagatune_clip_s=3.0,
        vocalset_per_singer=10,
        vocalset_recording_s=3.6,
        jamendo_tracks=SplitSizes(84, 24, 48),
        jamendo_track_s=3.0,
        jamendo_long_s=34.0,
    ),
    "full": DemoPreset(
        about="for scaling: 1200 minutes of pool, 300 minutes of data sets",
        pool_songs=2400,
        pool_song_s=30.0,
        gtzan_per_genre=SplitSizes(11, 3, 6),
        gtzan_song_s=25.0,
        num_keys=24,
        tracks_per_key=SplitSizes(6, 2, 4),
        key_track_s=14.0,
        nsynth_notes=SplitSizes(480, 100, 220),
        nsynth_note_s=2.0,
        emomusic_clips=SplitSizes(60, 15, 35),
        emomusic_clip_s=15.0,
        magnatagatune_clips=SplitSizes(120, 24, 56),
        magnatagatune_clip_s=10.0,
        vocalset_per_singer=20,
        vocalset_recording_s=4.0,
        jamendo_tracks=SplitSizes(84, 24, 48),
        jamendo_track_s=10.0,
        jamendo_long_s=62.0,
    ),
}
