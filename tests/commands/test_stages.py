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
