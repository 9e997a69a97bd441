"""`edgedet data ...` and the options that name a data set, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.commands.main import build_parser, main
from edgedet.options import data_paths


def test_data_options_reach_every_command_that_reads_one() -> None:
    given = ["--data", "a", "--data", "b", "--classes", "x, y z", "--rename", "old=x", "--rename", "k=v=w"]
    given += ["--val-fraction", "0.3", "--split-seed", "5"]
    for command in (["train", "m", "--out", "r"], ["quantize", "c.pt", "--out", "r"], ["evaluate", "m.tflite"]):
        paths = data_paths(build_parser().parse_args([*command, *given]))
        assert paths.folders == (Path("a"), Path("b"))
        assert paths.classes == ("x", "y z")
        assert paths.rename == (("old", "x"), ("k", "v=w"))
        assert (paths.division.fraction, paths.division.seed) == (0.3, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "a,,b"], "expected class names separated by commas, got 'a,,b'"),
        (["--rename", "a"], "expected OLD=NEW, got 'a'"),
        (["--rename", "=a"], "expected OLD=NEW, got '=a'"),
    ],
)
def test_data_options_malformed_are_refused(capsys, options: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["data", "check", "DIR", *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_data_commands_convert_check_and_show(tiny_coco_once: Path, tmp_path: Path, capsys) -> None:
    source, new = str(tiny_coco_once), str(tmp_path / "voc")
    assert main(["data", "convert", source, "--to", "voc", "--rename", "red=rot", "--out", new]) == 0
    assert "train: 9 images, 18 boxes\nvalid: 4 images, 8 boxes\n" in capsys.readouterr().out
    assert main(["data", "check", new, source, "--classes", "green,rot"]) == 0
    out = capsys.readouterr().out
    assert "train: 18 images" in out
    assert "classes_left_out: 1 selection of classes left out others (e.g. red)" in out
    assert main(["data", "show", new, "--out", str(tmp_path / "p.png"), "--images", "3"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'p.png'}: 3 pictures of train\nnext: `edgedet data check {new}`\n"


def test_data_commands_name_options_in_their_errors(tiny_coco_once: Path, tmp_path: Path, capsys) -> None:
    for arguments, message in (
        (["check", str(tiny_coco_once), "--val-fraction", "2"], "--val-fraction 2: expected a number between 0 and 1"),
        (["check", str(tiny_coco_once), "--classes", "blue"], "no class 'blue' to keep by --classes; classes are"),
        (["convert", str(tiny_coco_once), "--out", str(tiny_coco_once)], "is not empty; give a new name"),
        (["show", str(tiny_coco_once), "--out", str(tmp_path / "p.gif")], "--out"),
        (["show", "--out", str(tmp_path / "p.png")], "split train: no data set given"),
    ):
        assert main(["data", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error.splitlines()[-1]
        assert error.count("error: ") == 1
    assert list(tmp_path.iterdir()) == []


def test_broken_images_name_the_commands_that_can_leave_them_out(
    tiny_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny_coco / "train" / "2.png").write_bytes(b"no")
    ending = "by `skip_broken` of train, substitute, quantize, evaluate, inspect or waterfall"
    for argv in (
        ["data", "check", str(tiny_coco)],
        ["data", "convert", str(tiny_coco), "--out", str(tmp_path / "new")],
    ):
        assert main(argv) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert "1 of 9 images can't be read: " in last
        assert last.endswith(ending)
    for command in ending.partition(" of ")[2].replace(" or", ",").split(", "):
        needed = ["--against", "c.pt"] if command in ("inspect", "waterfall") else []
        assert build_parser().parse_args([command, "m", *needed, "--data", "d", "--skip-broken"]).skip_broken
