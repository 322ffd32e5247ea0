"""The road from an S3 bucket, against a server on this machine that speaks its protocol."""

import logging
from dataclasses import replace

import numpy as np
import pyarrow.fs as pa_fs
import pytest
import soundfile as sf
from moto.server import ThreadedMotoServer

from ray_musicssl.audio.decode import decode_file
from ray_musicssl.audio.sources import list_files
from ray_musicssl.config.prepare import PrepareConfig
from ray_musicssl.errors import DataError

CONFIG = PrepareConfig(clip_s=1, min_clip_s=0.5)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Two recordings, a text and a manifest, on this machine."""
    root = tmp_path_factory.mktemp("music")
    (root / "sub").mkdir()
    for seed, name in enumerate(("a.flac", "sub/b.ogg")):
        sf.write(root / name, np.random.default_rng(seed).uniform(-0.2, 0.2, 44_100 * 3), 44_100)
    (root / "notes.txt").write_text("no audio")
    (root / "list.csv").write_text("path\nsub/b.ogg\nlost.flac\n")
    return root


@pytest.fixture(scope="module")
def bucket(music):
    """The URI of the same files in a bucket; `?` and what follows is how pyarrow is told of another server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = pytest.MonkeyPatch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.setenv(name, "made-up")
    where = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    store, _ = pa_fs.FileSystem.from_uri(f"s3://shelf?{where}&allow_bucket_creation=true")
    store.create_dir("shelf")
    for path in music.rglob("*.*"):
        with store.open_output_stream(f"shelf/set/{path.relative_to(music)}") as stream:
            stream.write(path.read_bytes())
    yield lambda path: f"s3://shelf/{path}?{where}"
    environment.undo()
    server.stop()


def decoded(file):
    clips = []
    return decode_file(file, CONFIG, clips.append), clips


def test_a_bucket_gives_the_same_files_and_clips_as_a_folder(music, bucket):
    here, there = list_files(str(music)), list_files(bucket("set"))
    assert [(f.path, f.size_bytes, f.problem) for f in there] == [(f.path, f.size_bytes, f.problem) for f in here]
    assert [file.path for file in there] == ["a.flac", "sub/b.ogg"]
    for mine, theirs in zip(here, there, strict=True):
        row_here, clips_here = decoded(mine)
        row_there, clips_there = decoded(theirs)
        assert row_there == row_here
        assert row_here.status == "used"
        assert [clip.pcm.tobytes() for clip in clips_there] == [clip.pcm.tobytes() for clip in clips_here]


def test_a_manifest_in_a_bucket_names_files_beside_it(bucket):
    files = list_files(bucket("set/list.csv"))
    assert {file.path: file.problem for file in files} == {"lost.flac": "missing", "sub/b.ogg": ""}


def test_an_object_that_goes_after_the_listing_is_missing(bucket):
    file = list_files(bucket("set/list.csv"))[1]
    row, clips = decoded(replace(file, location="shelf/set/sub/gone.ogg"))
    assert (row.status, row.reason, clips) == ("rejected", "missing", [])


@pytest.mark.parametrize("path", ["nothing", "other"])
def test_a_folder_that_is_not_there_is_named_without_what_may_be_secret(bucket, path):
    with pytest.raises(DataError, match=r"nothing at s3://\.\.\./") as caught:
        list_files(bucket(path))
    assert "endpoint" not in str(caught.value)
