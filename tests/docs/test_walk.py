"""The commands of README and tutorial, as they stand there, on a tiny data set with few epochs."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("jinja2")

from random_weights import random_detector

from edgedet.commands.frame.parser import leaves
from edgedet.commands.main import build_parser, main
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.net.checkpoint import Checkpoint, save_checkpoint

REPO = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)  # language, text
# Not here: what installs edgedet, and the targets of make, which are this test and `make demo`.
OTHERS = ("pip install", "make demo", "make test")
SMALL = ("--set", "deepen=0.1", "stacked_convs=1", "threads=1")
# A checkpoint that finds something of the tiny data set after 60 epochs: distillation refuses one that finds nothing.
PLAIN = ("mosaic=0.0", "hsv_h=0.0", "hsv_s=0.0", "hsv_v=0.0", "scale_min=1.0", "scale_max=1.0", "crop=false", "lr=0.01",
         "eval_interval=60")  # fmt: skip


def commands(page: str) -> Iterator[list[str]]:
    """Command lines in the page's blocks without a language."""
    for language, block in BLOCK.findall((REPO / page).read_text(encoding="utf-8")):
        lines = [] if language else block.splitlines()
        yield from (shlex.split(line, comments=True) for line in lines if line and not line.startswith(OTHERS))


def shortened(words: list[str], epochs: int) -> list[str]:
    """The same command with less work: a smaller input, and so many epochs of training, one more to go on with."""
    if "--imgsz" in words:
        words[words.index("--imgsz") + 1] = "96x64"
    if "--epochs" in words:
        at = words.index("--epochs")
        del words[at : at + 2]
    if words[1] == "train":
        words += ["--epochs", str(epochs + ("--resume" in words)), "--batch", "4", *SMALL]
        words += PLAIN if epochs > 1 else ()
    if words[1] == "quantize":
        words += ["--calib-images", "4"]
    if "qat" in words:
        words += ["--epochs", "1", "--batch", "4"]
    if words[1] == "substitute":
        words += ["--epochs", "1", "--batch", "4"]
    return words


def walk(page: str, capsys: pytest.CaptureFixture[str], epochs: int = 1) -> list[str]:
    """Run all commands of a page; gives what was run."""
    ran = []
    for words in commands(page):
        if words[0] == "make":
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert (done.returncode, "PASS" in done.stdout) == (0, True), done.stdout + done.stderr
        else:
            assert words[0] == "edgedet", words
            code = main(shortened(words, epochs)[1:])
            out, err = capsys.readouterr()
            assert code == 0, f"{shlex.join(words)}\n{out}{err}"
        ran.append(" ".join(words[:2]))
    return ran


@pytest.fixture
def photos(tiny_coco_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with `photos`, as the pages have it, which is the current one."""
    (tmp_path / "photos").symlink_to(tiny_coco_once)
    monkeypatch.chdir(tmp_path)


def save_silu_detector(path: Path) -> None:
    """The checkpoint of another model that a page speaks of."""
    file = load_model_file("rtmdet_nano", ("widen=0.125", "deepen=0.1", "stacked_convs=1"))
    path.parent.mkdir(parents=True)
    outputs = OutputSpec(class_names=("red", "green"), category_ids=(1, 2))
    network = random_detector(file.model, len(outputs.class_names), 0, 96, 64)
    save_checkpoint(Checkpoint(file.model, file.preprocess.spec((96, 64)), outputs, network.state_dict(), {}), path)


@pytest.mark.slow
@pytest.mark.toolchain
@pytest.mark.usefixtures("photos")
def test_readme_commands_run_as_they_stand(
    capsys: pytest.CaptureFixture[str], require_tool: Callable[..., str]
) -> None:
    require_tool("make")
    kinds = ["edgedet data", "edgedet train", "edgedet quantize", "edgedet evaluate", "edgedet predict"]
    assert walk("README.md", capsys) == [*kinds, "edgedet deploy", "make -C"]


@pytest.mark.long
@pytest.mark.toolchain
@pytest.mark.usefixtures("photos")
def test_tutorial_commands_run_as_they_stand(
    capsys: pytest.CaptureFixture[str], require_tool: Callable[..., str]
) -> None:
    for tool in ("make", "arm-none-eabi-gcc", "qemu-system-arm"):
        require_tool(tool)
    save_silu_detector(Path("runs/silu/best.pt"))
    ran = walk("docs/tutorial.md", capsys, epochs=60)
    assert len(ran) >= 20
    assert {"edgedet substitute", "edgedet inspect", "edgedet lint", "make -C"} <= set(ran)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_every_block_of_commands_is_found(page: str) -> None:
    """A block with a language is passed over: Python and text have one."""
    text = (REPO / page).read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert text.count("```") == 2 * len(blocks)
    assert {language for language, _ in blocks} <= {"", "python", "text"}
    assert len(list(commands(page))) >= 7


def test_commands_page_names_every_command() -> None:
    rows = re.findall(
        r"^\| `(edgedet[^`]*)` \|", (REPO / "docs" / "commands.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    for parser in leaves(build_parser()):
        assert any(row.startswith(parser.prog) for row in rows), parser.prog
