"""What commands hand to their stages."""

from pathlib import Path

from ray_musicssl.commands import stages


def test_scores_go_into_the_run_or_into_a_folder_named_after_the_model(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a/checkpoints/step-00000005").mkdir(parents=True)
    Path("mfcc").mkdir()
    given = []
    monkeypatch.setattr("ray_musicssl.on_ray.probe.probe", lambda *args, **_: given.extend(args[3]) or [])
    stages.probe(["a", "a/checkpoints/step-00000005", "random:a", "mfcc"], data=Path("d"), out=Path("o"))
    names = ["a", "o/a-checkpoints-step-00000005", "o/random-a", "o/mfcc"]
    assert [str(path) for path in given] == names
    assert capsys.readouterr().out.splitlines() == [f"-> {name}/scores" for name in names]


def test_every_codebook_goes_into_one_pass_and_its_directory_is_told(monkeypatch, capsys):
    given = []
    monkeypatch.setattr("ray_musicssl.audio.shard.open_shards", str)
    monkeypatch.setattr("ray_musicssl.clustering.chain.open_codebook", lambda path: f"codebook {path}")
    monkeypatch.setattr("ray_musicssl.on_ray.label.label", lambda *args, **named: given.append((args, named)) or "xy")
    seen = []
    monkeypatch.setattr("ray_musicssl.on_ray.judge.review_labels", lambda *args: seen.append(args))
    stages.label(Path("s"), [Path("a"), Path("b")], encoder=Path("e"))
    assert seen == [("s", "x"), ("s", "y")]
    assert given == [(("s", ["codebook a", "codebook b"]), {"encoder": Path("e")})]
    assert capsys.readouterr().out.splitlines() == ["-> x", "-> y"]
