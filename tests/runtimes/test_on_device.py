"""The device program behind a pseudo-terminal: the same bytes and the same AP as here, whatever the line does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from device_line import DeviceOnPty, build_device, build_device_for_qemu, open_device
from toy_detector import write_toy_model

from edgedet.commands.main import main
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.preprocess import load_image
from edgedet.deploy.api import deploy
from edgedet.device.journal import Journal, Kept
from edgedet.device.link import Patience
from edgedet.device.protocol import Kind
from edgedet.device.session import Job
from edgedet.diagnose import outputs
from edgedet.errors import DeviceError
from edgedet.evaluate.detect import detect
from edgedet.evaluate.evaluator import evaluate
from edgedet.evaluate.predict import predict
from edgedet.runtimes.on_device import encode_detections
from edgedet.runtimes.open import open_runtime

pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def program(toy_model: Path, tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., str]) -> list[str]:
    require_tool("gcc")
    require_tool("make")
    return build_device(deploy(toy_model, "c99", tmp_path_factory.mktemp("device") / "toy").out)


@pytest.fixture(scope="module")
def split(toy_data: Path) -> CocoSplit:
    return load_split(toy_data, "valid")


def test_device_gives_the_bytes_and_the_ap_of_the_simulator(
    program: list[str], toy_model: Path, split: CocoSplit
) -> None:
    expected = evaluate(open_runtime(toy_model, "sim"), split)
    with DeviceOnPty(program) as device:
        found = evaluate(open_runtime(toy_model, f"serial:{device.port}"), split)
    assert 0.0 < expected.ap.ap < 1.0
    assert found.ap == expected.ap
    assert "0 sent again, 0 damaged and 0 late" in found.details[-2]


@pytest.mark.parametrize("seed", [0, pytest.param(100, marks=pytest.mark.long)])
def test_device_faults_change_no_byte_of_ap_or_detections(
    program: list[str], toy_model: Path, split: CocoSplit, seed: int
) -> None:
    """5 % of all frames damaged, dropped, doubled or cut, in each direction, and resets in the middle of pictures."""
    simulator = open_runtime(toy_model, "sim")
    expected = evaluate(simulator, split)
    with DeviceOnPty(program, seed, 0.05, resets=(40, 90, 91)) as device:
        runtime = open_device(device, toy_model)
        found = evaluate(runtime, split)
        for record in split.images:
            x = simulator.prepare(np.full((64, 96, 3), record.image_id, np.uint8))
            for ours, theirs in zip(runtime.invoke(x), simulator.invoke(x), strict=True):
                assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
        assert all(faults.count[kind] > 0 for faults in (device.to_device, device.to_computer) for kind in faults.count)
        assert len(device.processes) == 4
    assert found.ap == expected.ap
    assert runtime.module.session.link.traffic.restarts > 0


def test_interrupted_run_goes_on_where_it_was(
    program: list[str], toy_model: Path, split: CocoSplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copy(toy_model, tmp_path))
    expected = evaluate(open_runtime(model, "sim"), split)

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with DeviceOnPty(program) as device:
        first = open_device(device, model)
        with pytest.raises(KeyboardInterrupt):
            evaluate(first, split, progress=interrupt)
        first.module.close()
        (left,) = tmp_path.glob("*.results")
        left.write_bytes(left.read_bytes()[:-5])  # as after a kill in the middle of a line
        second = open_device(device, model)
        found = evaluate(second, split)
        assert len(second.module._seconds) == len(split.images) - 2
    assert found.ap == expected.ap
    assert "2 images were measured by a run that was interrupted" in found.details
    assert "the same command goes on behind 3 images" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [model]


def test_interrupted_predict_goes_on_where_it_was(
    program: list[str], toy_model: Path, split: CocoSplit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copy(toy_model, tmp_path))
    paths = [record.path for record in split.images]
    expected = [found.detections for found in predict(open_runtime(model, "sim"), paths, tmp_path / "sim")]

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with DeviceOnPty(program) as device:
        first = open_device(device, model)
        with pytest.raises(KeyboardInterrupt):
            predict(first, paths, tmp_path / "out", progress=interrupt)
        first.module.close()
        assert not (tmp_path / "out").exists()
        second = open_device(device, model)
        found = [one.detections for one in predict(second, paths, tmp_path / "out")]
        assert len(second.module._seconds) == len(paths) - 2
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.boxes.tobytes(), ours.scores.tobytes()) == (theirs.boxes.tobytes(), theirs.scores.tobytes())
    assert "2 images were measured by a run that was interrupted" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.results"))


def test_interrupted_comparison_goes_on_where_it_was(
    program: list[str], toy_model: Path, split: CocoSplit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copy(toy_model, tmp_path))
    paths: list[Path] = []

    def interrupted(path: Path) -> np.ndarray:
        paths.append(path)
        if len(paths) == 3:
            raise KeyboardInterrupt
        return load_image(path)

    monkeypatch.setattr(outputs, "load_image", interrupted)
    simulator = open_runtime(model, "sim")
    with DeviceOnPty(program) as device:
        first = open_device(device, model)
        with pytest.raises(KeyboardInterrupt):
            outputs.check_outputs(simulator, first, split.images)
        first.module.close()
        second = open_device(device, model)
        check = outputs.check_outputs(simulator, second, split.images)
        assert len(second.module._seconds) == len(split.images) - 2
    assert (check.images, check.differing) == (len(split.images), 0)
    assert list(tmp_path.iterdir()) == [model]


def test_results_of_another_model_or_input_are_not_taken(tmp_path: Path) -> None:
    path, kept = tmp_path / "a.results", Kept(b"abcd", bytes(24), (0.5, 1.5, 2.0))
    journal = Journal(path, "1" * 64, "c99 of edgedet 1", 4)
    journal.add(b"input", kept)
    journal.close(remove=False)
    again = Journal(path, "1" * 64, "c99 of edgedet 1", 4)
    assert (again.get(b"input"), again.get(b"other")) == (kept, None)
    again.close(remove=False)
    for model, firmware, size in (("2" * 64, "c99 of edgedet 1", 4), ("1" * 64, "tflm of edgedet 1", 4)):
        other = Journal(path, model, firmware, size)
        assert other.earlier == {}
        other.close(remove=False)


def test_firmware_of_another_model_is_refused_also_after_a_reset(
    program: list[str], toy_model: Path, tmp_path: Path
) -> None:
    other = write_toy_model(tmp_path / "other.tflite", 96, 64, classes=2)
    with DeviceOnPty(program) as device, pytest.raises(DeviceError, match=r"runs another model: sha256 .*expected"):
        open_device(device, other)
    another = build_device(deploy(other, "c99", tmp_path / "other").out)
    with DeviceOnPty(program) as device:
        runtime = open_device(device, toy_model)
        x = runtime.prepare(np.zeros((64, 96, 3), np.uint8))
        runtime.invoke(x)
        device.exchange(another, after=5)
        with pytest.raises(DeviceError, match="runs another model"):
            runtime.invoke(x)


def test_firmware_of_another_version_and_a_decoder_of_other_arithmetic_are_refused(
    toy_model: Path, tmp_path: Path
) -> None:
    out = deploy(toy_model, "c99", tmp_path / "toy").out
    source = out / "device.c"
    text = source.read_text(encoding="utf-8")
    score = "put_u32(bytes, bits);\n    put_u32(bytes + 4"
    source.write_text(text.replace(score, score.replace("bits)", "bits ^ 1u)")))
    with DeviceOnPty(build_device(out)) as device:
        runtime = open_device(device, toy_model)
        picture = np.zeros((64, 96, 3), np.uint8)
        picture[20:44, 30:60, 0] = 220
        with pytest.raises(
            DeviceError, match=r"found 13 objects .* or other boxes or scores: build its kernels without"
        ):
            runtime.invoke(runtime.prepare(picture))
    source.write_text(text)
    header = out / "device.h"
    header.write_text(header.read_text(encoding="utf-8").replace("DEVICE_PROTOCOL 1", "DEVICE_PROTOCOL 2"))
    with (
        DeviceOnPty(build_device(out)) as device,
        pytest.raises(DeviceError, match="the device speaks version 2 of the protocol, this edgedet version 1: deploy"),
    ):
        open_device(device, toy_model)


def test_device_takes_frames_and_gives_what_edgedet_finds_in_them(program: list[str], toy_model: Path) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 60, (70, 130, 3), dtype=np.uint8)
    picture[20:50, 30:80, 1] = 220
    expected = detect(open_runtime(toy_model, "sim"), picture, 0.25).in_image
    with DeviceOnPty(program, 5, 0.05) as device:
        session = open_device(device, toy_model).module.session
        answer = session.run(Job(Kind.FRAME, picture.tobytes(), 0, 130, 70))
        assert len(expected) > 0
        assert answer.detections == encode_detections(expected)
        with pytest.raises(DeviceError, match="the frame does not fit into the device's 230400 bytes"):
            session.run(Job(Kind.FRAME, bytes(400 * 300 * 3), 0, 400, 300))


BOOTING = ["sh", "-c", "while sleep 0.01; do printf 'login:\\000'; done"]
IMPATIENT = Patience(reply_s=0.02, attempts=3, hello_s=0.3, run_s=0.5)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["sleep", "60"], "no reply to HELLO in 0.3 s; nothing came back: check"),
        (["cat"], "the line sends back what is sent to it"),
        (
            BOOTING,
            "no reply to HELLO in 0.3 s; what came back is no reply: check",
        ),
    ],
)
def test_line_without_a_device_is_an_error_that_says_what_is_there(
    toy_model: Path, command: list[str], message: str
) -> None:
    with DeviceOnPty(command) as device, pytest.raises(DeviceError, match=message):
        open_device(device, toy_model, IMPATIENT)


def test_port_that_is_not_there_or_taken_is_one_line(program: list[str], toy_model: Path) -> None:
    with pytest.raises(DeviceError, match=r"^/dev/nowhere: can't be opened \(No such file or directory\): check"):
        open_runtime(toy_model, "serial:/dev/nowhere")
    with DeviceOnPty(program) as device:
        first = open_device(device, toy_model)
        with pytest.raises(DeviceError, match=r"can't be opened .* another program has it"):
            open_device(device, toy_model)
        first.module.close()


@pytest.mark.parametrize(
    ("cpu", "share", "images"),
    [
        ("cortex-m4", 0.05, 1),
        pytest.param("cortex-m4", 0.0, 2, marks=pytest.mark.long),
        pytest.param("cortex-m7", 0.05, 2, marks=pytest.mark.long),
        pytest.param("cortex-m55", 0.05, 2, marks=pytest.mark.long),
    ],
)
def test_device_on_an_emulated_uart_gives_the_ap_of_the_simulator(
    toy_model: Path,
    split: CocoSplit,
    tmp_path: Path,
    require_tool: Callable[..., str],
    cpu: str,
    share: float,
    images: int,
) -> None:
    """Few pictures: the emulator hands about 10,000 bytes a second to the UART."""
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    command = build_device_for_qemu(deploy(toy_model, "c99", tmp_path / "module").out, cpu)
    expected = evaluate(open_runtime(toy_model, "sim"), split, max_images=images)
    with DeviceOnPty(command, 7, share) as device:
        runtime = open_device(device, toy_model, Patience(reply_s=0.4, attempts=40))
        found = evaluate(runtime, split, max_images=images)
        runtime.module.close()
    assert 0.0 < expected.ap.ap < 1.0
    assert found.ap == expected.ap
    if share:
        assert sum(device.to_device.count.values()) + sum(device.to_computer.count.values()) > 2


def test_evaluate_and_predict_commands_run_on_a_device(
    program: list[str], toy_model: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    with DeviceOnPty(program) as device:
        serial = ["--runtime", f"serial:{device.port}"]
        arguments = ["evaluate", str(toy_model), "--data", str(toy_data), *serial, "--json", str(report)]
        assert main(arguments) == 0
    following = f"evaluate {toy_model} --runtime serial:{device.port} --send image --data {toy_data}"
    assert f"next: `edgedet {following}`" in capsys.readouterr().out.splitlines()
    with DeviceOnPty(program) as device:  # as it was proposed, on the port that there is now
        again = [*following.split()[:3], f"serial:{device.port}", *following.split()[4:]]
        assert main(again) == 0
    assert "next:" not in capsys.readouterr().out
    assert main(["evaluate", str(toy_model), "--data", str(toy_data), "--json", str(tmp_path / "sim.json")]) == 0
    found, expected = (json.loads(path.read_text()) for path in (report, tmp_path / "sim.json"))
    assert found["ap"] == expected["ap"]
    assert found["runtime"] == f"serial:{device.port}"
    assert found["device"]["sent"] == "tensor"
    with DeviceOnPty(program) as device:
        folders = {name: tmp_path / name for name in ("serial", "sim")}
        pictures = str(toy_data / "valid")
        arguments = ["predict", str(toy_model), pictures, "--runtime", f"serial:{device.port}"]
        assert main([*arguments, "--out", str(folders["serial"])]) == 0
    assert main(["predict", str(toy_model), pictures, "--out", str(folders["sim"])]) == 0
    images = [json.loads((folder / "detections.json").read_text())["images"] for folder in folders.values()]
    for image in images[0]:
        assert set(image["device_ms"]) == {"prepare", "network", "decode"}
        assert image.pop("device_ms")["network"] > 0.0
    assert images[0] == images[1] != []
    assert main(["evaluate", str(toy_model), "--data", str(toy_data), "--runtime", "serial:/dev/nowhere"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: /dev/nowhere: can't be opened")
