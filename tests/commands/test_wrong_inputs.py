"""Wrong and unlucky inputs: one line that names what is wrong, code 2, nothing written, nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.commands.main import main

# Words of the command line, with MODEL, DATA, OUT (a name that is free), FULL (a folder with a file of the user's),
# STRANGE (one with files of his that are called as predict's), VIDEOS (one with a video alone),
# FILE (a text of his), CUT (the first half of a model), BROKEN (a damaged JPEG), CKPT (a damaged checkpoint).
# Beside them what the message must hold.
WRONG = (
    ("", "COMMAND"),
    ("tset", "invalid choice: 'tset'"),
    ("val MODEL --data DATA", "did you mean evaluate?"),
    ("data chek DATA", "did you mean check?"),
    ("data check ABSENT", "ABSENT"),
    ("data check FILE", "user.txt"),
    ("data check DATA --imgsz 100", "multiple of 32"),
    ("data check DATA --classes cat", "cat"),
    ("data check DATA --classes reed", "(did you mean 'red'?)"),
    ("data convert DATA --rename gren=green --out OUT", "(did you mean 'green'?)"),
    ("data check DATA --val-fraction 2", "val"),
    ("data convert DATA --out FULL", "FULL"),
    ("data show DATA --out OUT.gif", ".gif"),
    ("models rtmdet_nono", "did you mean 'rtmdet_nano'?"),
    ("models FILE", "user.txt"),
    ("models rtmdet_nano --set mosaix=1", "did you mean 'train.mosaic'?"),
    ("train rtmdet_nano --data DATA --out OUT --set leaning_rate=1", "did you mean 'train.lr'?"),
    ("models rtmdet_nano --set lr", "expected key=value"),
    ("models rtmdet_nano --imgsz 192x", "WIDTHxHEIGHT"),
    ("train rtmdet_nano --data ABSENT --out OUT", "ABSENT"),
    ("train rtmdet_nano --data DATA --out FILE", "is a file"),
    ("train rtmdet_nano --data DATA --out OUT --epochs 0", "at least 1"),
    ("train rtmdet_nano --data DATA --out OUT --freeze neck", "--from"),
    ("train --from ABSENT.pt --data DATA --out OUT", "ABSENT.pt"),
    ("quantize ABSENT.pt --data DATA --out OUT", "ABSENT.pt"),
    ("quantize CKPT --data DATA --out OUT", "ckpt.pt"),
    ("quantize CKPT --data DATA --out OUT --effort bst", "did you mean 'best'?"),
    ("quantize CKPT --data DATA --out OUT --epochs 3", "--method qat"),
    ("evaluate ABSENT.tflite --data DATA", "ABSENT.tflite"),
    ("evaluate CUT --data DATA", "cut.tflite"),
    ("evaluate MODEL", "--data"),
    ("evaluate MODEL --data DATA --split test", "test"),
    ("evaluate MODEL --data DATA --score-threshold 1.5", "0 <= t < 1"),
    ("evaluate MODEL --data DATA --operating-point precision", "precision"),
    ("evaluate MODEL --data DATA --json FULL", "is a folder"),
    ("predict MODEL ABSENT.jpg --out OUT", "ABSENT.jpg"),
    ("predict MODEL BROKEN --out OUT", "broken.jpg"),
    ("predict MODEL DATA --out FILE", "is a file"),
    ("predict MODEL VIDEOS --out OUT", "holds no images, but 1 video; a video goes by itself: give "),
    ("predict FULL DATA --out OUT", "holds no model_int8.tflite and no best.pt"),
    ("predict DATA/valid MODEL --out OUT", "it is a folder of images: the model comes first, the images after it"),
    (
        "quantize rtmdet_nano --data DATA --out OUT",
        "train it first, `edgedet train rtmdet_nano`, then give its best.pt",
    ),
    ("predict MODEL DATA --out STRANGE", "detections.json: is there already, and edgedet did not write it"),
    ("predict MODEL street.avi --out STRANGE", "street.mp4: is there already"),
    ("predict MODEL walk.avi --out STRANGE", "walk.json: is there already"),
    ("predict MODEL DATA --out OUT --frames 3", "--frames 3"),
    ("predict MODEL BROKEN --conf 0.3 --out OUT", "did you mean --score-threshold?"),
    ("deploy CUT --target c99 --out OUT", "cut.tflite"),
    ("deploy MODEL --target c99 --out FULL", "FULL"),
    ("deploy MODEL --target c99 --out OUT --ram 100", "100 bytes"),
    ("deploy MODEL --target c99 --out OUT --ram 2x", "256k"),
    ("deploy MODEL --target c99 --out OUT --image BROKEN", "broken.jpg"),
    ("deploy CKPT --out OUT", "edgedet quantize"),
    ("deploy MODEL --target esp --out OUT", "invalid choice"),
    ("contract MODEL --classes a --out OUT.tflite", "--classes"),
    ("convert FILE", "user.txt"),
    ("lint FILE", "user.txt"),
    ("export MODEL --format onxx --out OUT", "onxx"),
    ("inspect MODEL --agianst CKPT --data DATA", "did you mean --against?"),
    ("operators CONV_3", "CONV_3"),
    ("completion fish", "invalid choice: 'fish'"),
)


@pytest.fixture
def places(tmp_path: Path, toy_model: Path, toy_data: Path) -> dict[str, Path]:
    """What the words of the table stand for."""
    full, file = tmp_path / "FULL", tmp_path / "user.txt"
    full.mkdir()
    (full / "notes.txt").write_text("of the user", encoding="utf-8")
    file.write_text("of the user", encoding="utf-8")
    strange = tmp_path / "STRANGE"
    strange.mkdir()
    for name in ("detections.json", "street.mp4", "walk.json", "walk.mp4"):
        (strange / name).write_text('{"images": []}', encoding="utf-8")
    for name in ("street.avi", "walk.avi"):
        (tmp_path / name).write_bytes(b"whatever")
    (tmp_path / "VIDEOS").mkdir()
    (tmp_path / "VIDEOS" / "street.avi").write_bytes(b"whatever")
    whole = toy_model.read_bytes()
    (tmp_path / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    (tmp_path / "ckpt.pt").write_bytes(b"PK\x03\x04 cut")
    names = {"CUT": "cut.tflite", "BROKEN": "broken.jpg", "CKPT": "ckpt.pt", "OUT": "OUT", "ABSENT": "ABSENT"}
    return {
        "MODEL": toy_model,
        "DATA": toy_data,
        "FULL": full,
        "FILE": file,
        "STRANGE": strange,
        "VIDEOS": tmp_path / "VIDEOS",
    } | {word: tmp_path / name for word, name in names.items()}


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(("line", "expected"), WRONG, ids=[line or "nothing" for line, _ in WRONG])
def test_wrong_input_is_one_line_and_changes_nothing(
    line: str, expected: str, places: dict[str, Path], tmp_path: Path, toy_data: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("torch")
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    argv = line.split()
    for word, path in places.items():
        argv = [arg.replace(word, str(path)) if arg.startswith(word) else arg for arg in argv]
    before = contents(tmp_path), contents(toy_data)
    try:
        code: int | str | None = main(argv)
    except SystemExit as stopped:
        code = stopped.code
    error = capfd.readouterr().err
    assert code == 2
    last = error.splitlines()[-1]
    assert last.startswith("error: ")
    assert expected in last
    assert "Traceback" not in error
    assert (contents(tmp_path), contents(toy_data)) == before


def test_table_is_long_enough() -> None:
    assert len({line for line, _ in WRONG}) == len(WRONG) >= 40
