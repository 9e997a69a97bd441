"""Pictures sent as they are: the device's own preprocessing, network, decoding and NMS are what is measured."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from device_line import FLAGS, DeviceOnPty, build_device, build_device_for_qemu, open_device
from toy_detector import write_toy_model

import edgedet
from edgedet.commands.main import main
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.deploy.api import deploy
from edgedet.device.link import Patience
from edgedet.errors import ConfigError, DeviceError
from edgedet.evaluate.detect import detect
from edgedet.evaluate.evaluator import EvalReport, evaluate
from edgedet.runtimes.device_figures import DeviceFigures
from edgedet.runtimes.open import open_runtime

pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def module(toy_model: Path, tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., str]) -> Path:
    require_tool("gcc")
    require_tool("make")
    return deploy(toy_model, "c99", tmp_path_factory.mktemp("device") / "toy").out


@pytest.fixture(scope="module")
def program(module: Path) -> list[str]:
    return build_device(module)


@pytest.fixture(scope="module")
def split(toy_data: Path) -> CocoSplit:
    return load_split(toy_data, "valid")


@pytest.fixture(scope="module")
def expected(toy_model: Path, split: CocoSplit) -> EvalReport:
    report = evaluate(open_runtime(toy_model, "c99"), split)
    assert 0.0 < report.ap.ap < 1.0
    assert report.ap == evaluate(open_runtime(toy_model), split).ap
    return report


def figures_of(report: EvalReport) -> DeviceFigures:
    assert report.device is not None
    return report.device


def test_images_and_tensors_give_the_ap_of_the_c_on_this_computer(
    program: list[str], toy_model: Path, split: CocoSplit, expected: EvalReport
) -> None:
    """With 5 % of all frames damaged. What the device itself found has the AP of the contract's own threshold."""
    simulator = open_runtime(toy_model)
    own = evaluate(simulator, split, score_threshold=simulator.outputs.score_threshold).ap
    objects = sum(len(detect(simulator, record.path, None).in_image) for record in split.images)
    with DeviceOnPty(program, 3, 0.05) as device:
        for send in ("image", "tensor"):
            runtime = open_device(device, toy_model, send=send)
            found = evaluate(runtime, split)
            runtime.module.close()
            assert found.ap == expected.ap
            figures = figures_of(found)
            assert (figures.sent, figures.images, figures.earlier_images) == (send, len(split.images), 0)
            assert figures.own_detections is not None
            of_device = figures.own_detections
            assert (of_device.ap, of_device.ap50, of_device.objects) == (own.ap, own.ap50, objects)
            assert f"{send}s were sent" in found.text()
            times, line = figures.device_ms, figures.line_ms
            assert times is not None
            assert line is not None
            assert 0.0 < times.network.min <= times.network.median <= times.network.max < line.max
            assert (times.prepare.max > 0.0) == (send == "image")
            assert times.total.min <= times.total.mean <= times.total.max


def test_wrong_preprocessing_on_the_device_shows_with_images_alone(
    module: Path, toy_model: Path, split: CocoSplit, expected: EvalReport, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(module, tmp_path / "wrong", ignore=shutil.ignore_patterns("build")))
    source = out / "device.c"
    text = source.read_text(encoding="utf-8")
    right = "image.pixels = device->pixels;"
    assert right in text
    source.write_text(text.replace(right, "image.pixels = device->pixels + 1; /* green, blue, red */"))
    with DeviceOnPty(build_device(out)) as device:
        aps = {}
        for send in ("image", "tensor"):
            runtime = open_device(device, toy_model, send=send)
            aps[send] = evaluate(runtime, split).ap
            runtime.module.close()
    assert aps["tensor"] == expected.ap
    assert aps["image"].ap < 0.5 * expected.ap.ap


def test_image_memory_that_is_too_small_is_one_message_before_the_first_picture(
    module: Path, toy_model: Path, toy_data: Path, split: CocoSplit, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(module, tmp_path / "small", ignore=shutil.ignore_patterns("build")))
    largest = max(record.width * record.height * 3 for record in split.images)
    with DeviceOnPty(build_device(out, f"{FLAGS} -DEDGEDET_FRAME_BYTES={largest - 1}u")) as device:
        runtime = open_device(device, toy_model, send="image")
        before = device.requests
        message = rf"px are {largest:,} bytes of RGB, but the device has {largest - 1:,} for an image: build it with -D"
        with pytest.raises(DeviceError, match=message):
            evaluate(runtime, split)
        assert device.requests == before
        runtime.module.close()
        model = edgedet.load(toy_model, runtime=f"serial:{device.port}", send="image")
        with pytest.raises(DeviceError, match=message):
            model.predict(toy_data / "valid", out=tmp_path / "pictures")
        assert not (tmp_path / "pictures").exists()
    shutil.rmtree(out / "build")
    tensors_alone = build_device(out, f"{FLAGS} -DEDGEDET_FRAME_BYTES=0u")
    with DeviceOnPty(tensors_alone) as device, pytest.raises(DeviceError, match="takes no images, tensors alone"):
        open_device(device, toy_model, send="image")


def test_firmware_of_another_model_or_build_between_two_pictures_is_refused(
    program: list[str], module: Path, toy_model: Path, split: CocoSplit, tmp_path: Path
) -> None:
    """It is greeted before every picture: after the exchange nothing but the greeting goes out, and nothing counts."""
    model = Path(shutil.copy(toy_model, tmp_path / "model.tflite"))
    other = write_toy_model(tmp_path / "other.tflite", 96, 64, classes=2)
    another = build_device(deploy(other, "c99", tmp_path / "other").out)
    out = Path(shutil.copytree(module, tmp_path / "same", ignore=shutil.ignore_patterns("build")))
    rebuilt = build_device(out, f"{FLAGS} -DEDGEDET_FRAME_BYTES=100000u")
    for firmware, message in (
        (another, "runs another model: sha256"),
        (rebuilt, "another firmware than when this run"),
    ):
        with DeviceOnPty(program) as device:
            runtime = open_device(device, model, send="image")
            seen = 0

            def exchange(done: int, total: int) -> None:
                nonlocal seen
                if done == 2:
                    device.exchange(firmware, after=1)  # noqa: B023 - called in this round
                    seen = device.requests

            with pytest.raises(DeviceError, match=message):
                evaluate(runtime, split, progress=exchange)
            assert device.requests == seen + 1
            runtime.module.close()
        (left,) = tmp_path.glob("*.results")
        assert len(left.read_text().splitlines()) == 1 + 2
        left.unlink()


def test_results_of_another_build_are_not_gone_on_with(
    program: list[str], module: Path, toy_model: Path, split: CocoSplit, tmp_path: Path, expected: EvalReport
) -> None:
    model = Path(shutil.copy(toy_model, tmp_path / "model.tflite"))
    out = Path(shutil.copytree(module, tmp_path / "same", ignore=shutil.ignore_patterns("build")))
    rebuilt = build_device(out, f"{FLAGS} -DANY=1")  # the same program, other options

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with DeviceOnPty(program) as device:
        runtime = open_device(device, model, send="image")
        with pytest.raises(KeyboardInterrupt):
            evaluate(runtime, split, progress=interrupt)
        runtime.module.close()
        device.exchange(rebuilt, after=1)
        found = evaluate(open_device(device, model, send="image"), split)
    assert figures_of(found).earlier_images == 0
    assert found.ap == expected.ap


def test_run_that_was_killed_goes_on(
    program: list[str], toy_model: Path, toy_data: Path, tmp_path: Path, expected: EvalReport
) -> None:
    """SIGKILL in the middle; then the command is given again."""
    model = Path(shutil.copy(toy_model, tmp_path / "model.tflite"))
    report = tmp_path / "report.json"
    with DeviceOnPty(program, 1, 0.02) as device:
        command = [sys.executable, "-m", "edgedet.evaluate", str(model), "--data", str(toy_data), "--send", "image"]
        command += ["--runtime", f"serial:{device.port}", "--json", str(report)]
        run = subprocess.Popen(command, stderr=subprocess.PIPE)
        kept: list[str] = []
        while run.poll() is None and len(kept) < 3:
            kept = [line for path in tmp_path.glob("*.results") for line in path.read_text().splitlines()]
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert run.returncode == -signal.SIGKILL
        assert not report.exists()
        again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "images were measured by a run that was interrupted" in again.stderr
    found = json.loads(report.read_text())
    assert found["ap"]["stats"] == list(expected.ap.stats)
    assert 2 <= found["device"]["earlier_images"] < len(list((toy_data / "valid").glob("*.png")))
    assert not list(tmp_path.glob("*.results"))


def test_send_in_commands_and_python(
    program: list[str], toy_model: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [str(toy_model), str(toy_data / "valid")]
    with DeviceOnPty(program) as device:
        serial = ["--runtime", f"serial:{device.port}", "--send", "image"]
        assert main(["predict", *sources, *serial, "--out", str(tmp_path / "sent")]) == 0
        found = edgedet.load(toy_model, runtime=f"serial:{device.port}", send="image").predict(toy_data / "valid")
    assert main(["predict", *sources, "--out", str(tmp_path / "sim")]) == 0
    sent, sim = (json.loads((tmp_path / name / "detections.json").read_text()) for name in ("sent", "sim"))
    assert sent["device"]["sent"] == "image"
    for ours, theirs, python in zip(sent["images"], sim["images"], found, strict=True):
        assert ours.pop("device_ms")["prepare"] > 0.0
        assert python.device_ms is not None
        assert python.boxes.tolist() == [row["box_xyxy_px"] for row in theirs["detections"]]
        assert ours == theirs
    assert "device" not in sim
    capsys.readouterr()
    assert main(["evaluate", str(toy_model), "--data", str(toy_data), "--send", "image"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: --send image: only of --runtime serial:PORT, found sim; leave it out"
    )
    with pytest.raises(ConfigError, match="`send` 'jpeg': expected one of tensor, image"):
        edgedet.load(toy_model, runtime="serial:/dev/nowhere", send="jpeg")


def test_page_and_json_hold_the_ms_of_the_device(
    program: list[str], toy_model: Path, toy_data: Path, tmp_path: Path
) -> None:
    with DeviceOnPty(program) as device:
        model = edgedet.load(toy_model, runtime=f"serial:{device.port}", send="image")
        report = model.evaluate(toy_data, out=tmp_path / "run")
        first, again = figures_of(report), figures_of(model.evaluate(toy_data))  # each counts from its own begin
        assert (again.images, again.earlier_images) == (first.images, 0) == (report.images, 0)
        assert again.line.requests - again.line.sent_again <= first.line.requests
        with pytest.raises(DeviceError, match="in use"):  # the model holds the port until it is closed
            _ = edgedet.load(toy_model, runtime=f"serial:{device.port}").runtime
        model.close()
        other = edgedet.load(toy_model, runtime=f"serial:{device.port}")
        assert len(other.predict(toy_data / "valid")) == report.images
        other.close()
        other.close()
    content = json.loads((tmp_path / "run" / "evaluate.json").read_text())["device"]
    times = figures_of(report).device_ms
    assert times is not None
    assert content["device_ms"]["network"]["median"] == times.network.median
    page = (tmp_path / "run" / "report.html").read_text()
    assert "ms per image, by the clock of the device" in page
    assert f"{times.network.median:.3f}" in page


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: "/dev/null", "can't be opened (Inappropriate ioctl for device): it is no serial port"),
        (lambda path: path, "is a folder, not a serial port"),
        (lambda path: path.write_text("") or path, "is a regular file, not a serial port"),
        (lambda path: os.mkfifo(path) or path, "is a pipe, which carries bytes one way only, not a serial port"),
        (lambda path: "socket://localhost:1", "can't be opened (Connection refused): nobody listens there"),
    ],
)
def test_what_is_no_serial_port_is_one_line(
    make: Callable[[Path], Path | str], message: str, toy_model: Path, toy_data: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    port = make(tmp_path if "folder" in message else tmp_path / "port")
    assert main(["evaluate", str(toy_model), "--data", str(toy_data), "--runtime", f"serial:{port}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {port}: {message}")


def test_url_that_makes_pyserial_write_a_file_is_one_line_and_writes_none(
    toy_model: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spied = tmp_path / "spied.txt"
    runtime = f"serial:spy://loop://?file={spied}"
    assert main(["evaluate", str(toy_model), "--data", str(toy_data), "--runtime", runtime]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: runtime '{runtime}': expected a device")
    assert not spied.exists()


def test_device_that_vanishes_is_one_line(program: list[str], toy_model: Path) -> None:
    device = DeviceOnPty(program)
    with device:
        runtime = open_device(device, toy_model, send="image")
        runtime.invoke_image(np.zeros((64, 96, 3), np.uint8))
    with pytest.raises(DeviceError, match=r"^/dev/pts/\d+: the line broke \(.*\): was the board unplugged\? Run"):
        runtime.invoke_image(np.zeros((64, 96, 3), np.uint8))


@pytest.mark.long
@pytest.mark.parametrize("share", [0.0, 0.05])
def test_images_on_an_emulated_uart_give_the_ap_of_the_c_on_this_computer(
    toy_model: Path, split: CocoSplit, tmp_path: Path, require_tool: Callable[..., str], share: float
) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    command = build_device_for_qemu(deploy(toy_model, "c99", tmp_path / "module").out, "cortex-m4")
    expected = evaluate(open_runtime(toy_model, "c99"), split, max_images=2)
    with DeviceOnPty(command, 7, share) as device:
        runtime = open_device(device, toy_model, Patience(reply_s=0.4, attempts=40), "image")
        found = evaluate(runtime, split, max_images=2)
        runtime.module.close()
    assert found.ap == expected.ap
    assert figures_of(found).sent == "image"
