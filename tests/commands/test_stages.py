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


def test_what_is_asked_of_a_probe_reaches_the_stage(monkeypatch, run):
    given = {}

    def stand_in(models, data, tasks, out_dirs, config, **named):
        given.update(named, tasks=tasks, config=config)
        return []

    monkeypatch.setattr("ray_musicssl.on_ray.probe.probe", stand_in)
    words = ("--lr-grid", "1e-2,5e-4", "--by-layer", "--no-cache", "--pooling", "outputs", "--split-lists", "lists")
    done = run("probe", "chroma", "--data", "d", "--tasks", "gtzan_genre", "--set", "num_seeds=5", *words)
    assert (done.code, done.out) == (0, "-> baselines/chroma/scores\n")
    config = given.pop("config")
    assert (config.lr_grid, config.pooling, config.num_seeds) == ((0.01, 0.0005), "outputs", 5)
    expected = {"by_layer": True, "fresh": True, "strict": False, "split_lists": Path("lists")}
    assert given == {"tasks": ["gtzan_genre"], "cache_dir": Path("features"), **expected}


def test_a_rate_that_is_no_number_is_refused_with_its_field(run):
    done = run("probe", "mfcc", "--data", "d", "--lr-grid", "1e-2,fast")
    assert done.code == 2
    assert "lr_grid" in done.err
    assert "fast" in done.err
