"""Files that a user saves with an editor of Windows: every one is taken, or one line says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from edgedet.commands.files.contract import _parse_anchors
from edgedet.config import load_model_file
from edgedet.contract.labels import parse_classes
from edgedet.data.formats.coco import parse_coco
from edgedet.data.formats.yolo_yaml import read_lines, read_names, read_yaml
from edgedet.errors import EdgedetError
from edgedet.evaluate.coco_results import _load
from edgedet.hardware.board import load_board
from edgedet.npu.vela_file import check_vela_file
from edgedet.texts import decode_text

COCO = {
    "images": [{"id": 1, "file_name": "é.png", "width": 8, "height": 8}],
    "annotations": [],
    "categories": [{"id": 1, "name": "é"}],
}
VELA = "; é\n[System_Config.A]\ncore_clock=1e6\naxi0_port=Sram\naxi1_port=Sram\n[Memory_Mode.B]\narena_mem_area=Axi0\n"


def _board(repo: Path) -> str:
    return "# é\n" + (repo / "firmware_export" / "boards" / "nano_33_ble.toml").read_text(encoding="utf-8")


def _model(repo: Path) -> str:
    return "# é\n" + (repo / "models" / "rtmdet_pico_relu6.toml").read_text(encoding="utf-8")


# Name of the file, its text, how edgedet reads it.
KINDS: dict[str, tuple[Callable[[Path], str], Callable[[Path], object]]] = {
    "board.toml": (_board, lambda path: load_board(str(path)).file),
    "model.toml": (_model, lambda path: load_model_file(str(path))),
    "instances.json": (
        lambda _: json.dumps(COCO, ensure_ascii=False),
        lambda path: parse_coco(path, path.parent).categories,
    ),
    "results.json": (lambda _: '[{"é": 1}]', _load),
    "data.yaml": (lambda _: "path: .\ntrain: a\nval: b\nnames: [é, b]\n", lambda path: read_yaml(path)),
    "names.txt": (lambda _: "é\nb\n", read_names),
    "train.txt": (lambda _: "é/1.png\nb/2.png\n", read_lines),
    "classes.txt": (lambda _: "é\nb\n", lambda path: parse_classes(str(path))),
    "board.ini": (lambda _: VELA, lambda path: check_vela_file(path, "A", "B")),
}


@pytest.mark.parametrize("name", KINDS)
def test_text_of_windows_is_read_as_that_of_others_or_refused_in_one_line(
    name: str, repo_dir: Path, tmp_path: Path
) -> None:
    text_of, read = KINDS[name]
    text, path = text_of(repo_dir), tmp_path / name
    path.write_text(text, encoding="utf-8", newline="\n")
    expected = read(path)
    path.write_text(text, encoding="utf-8-sig", newline="\r\n")
    assert read(path) == expected
    for encoding, words in (("utf-16", "is UTF-16 text"), ("cp1252", "is no UTF-8 text (byte ")):
        path.write_text(text, encoding=encoding)
        with pytest.raises(EdgedetError) as error:
            read(path)
        assert name in str(error.value)
        assert words in str(error.value)
        assert str(error.value).endswith("; save it as UTF-8")
        assert "\n" not in str(error.value)


def test_anchors_of_a_file_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "anchors.txt"
    path.write_text("10,20\n30,40\n", encoding="utf-8-sig", newline="\r\n")
    assert _parse_anchors(str(path)) == ((10.0, 20.0, 30.0, 40.0), None)
    path.write_text("10,20\n", encoding="utf-16")
    with pytest.raises(EdgedetError, match="UTF-16"):
        _parse_anchors(str(path))


def test_list_on_standard_input_of_windows(toy_model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (96, 64), (9, 9, 9)).save(tmp_path / "one.png")
    command = [sys.executable, "-m", "edgedet", "predict", str(toy_model), "-", "--out", str(tmp_path / "out")]
    listed = f"{tmp_path / 'one.png'}\r\n".encode("utf-8-sig")
    done = subprocess.run(command, input=listed, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    images = json.loads((tmp_path / "out" / "detections.json").read_text(encoding="utf-8"))["images"]
    assert [Path(image["image"]).name if "image" in image else image for image in images] == ["one.png"]


def test_decode_text_keeps_all_but_the_mark() -> None:
    assert decode_text(b"\xef\xbb\xbfa\r\n\xef\xbb\xbfb") == "a\r\n\ufeffb"
    assert decode_text(b"") == ""
    with pytest.raises(ValueError, match=r"^is no UTF-8 text \(byte 2\); save it as UTF-8$"):
        decode_text(b"ab\xe9")
