"""Preprocessing and detection on emulated Cortex-M and under sanitizers; ctypes runs many more cases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import chip_run
import numpy as np
import pytest
from c_structs import DETECTION

from edgedet.contracts import PreprocessSpec
from edgedet.data.pictures.preprocess import Placement, quantization_table, quantize_input, resize_to_input
from edgedet.numerics.decode import quantized_threshold, score_table

detect_cases = chip_run.load("test_detect")
preprocess_cases = chip_run.load("test_preprocess")

pytestmark = pytest.mark.toolchain


@dataclass(frozen=True, eq=False)
class Call:
    """One call as chip/run_vision.c takes it, and the bytes that it must give."""

    function: int
    integers: list[int]
    arrays: list[np.ndarray]
    expected: bytes

    def encode(self) -> bytes:
        parts = [np.array([self.function, len(self.integers), *self.integers, len(self.arrays)], np.int32).tobytes()]
        for array in self.arrays:
            data = np.ascontiguousarray(array).tobytes()
            parts.append(np.int32(len(data)).tobytes() + data + bytes(-len(data) % 4))
        return b"".join(parts)


def float_bits(value: float) -> int:
    return int(np.float32(value).view(np.int32))


def preprocess_call(layout: int, height: int, width: int, spec: PreprocessSpec) -> Call:
    packed = preprocess_cases.random_packed(layout, height, width)
    pixels, _ = resize_to_input(preprocess_cases.UNPACK[layout](packed), spec)
    integers = [width, height, packed.strides[0], layout, spec.width, spec.height]
    integers += [["letterbox", "stretch"].index(spec.resize), spec.pad_value]
    scale, zero_point = 0.0186, -15
    expected = quantize_input(pixels, spec, scale, zero_point).tobytes()
    return Call(0, integers, [quantization_table(spec, scale, zero_point), packed], expected)


def detect_call(case: object, placement: Placement) -> Call:
    assert isinstance(case, detect_cases.Case)
    found = case.numpy()
    result = np.zeros(len(found), DETECTION)
    result["box"], result["score"], result["label"] = placement.to_image(found.boxes), found.scores, found.labels
    integers = [placement.image_width, placement.image_height, placement.new_width, placement.new_height]
    integers += [len(case.spec.strides), len(case.spec.class_names), float_bits(case.nms_iou)]
    integers += [case.max_candidates, case.max_detections]
    arrays = []
    for i, stride in enumerate(case.spec.strides):
        (cls_scale, box_scale), (cls_zero, box_zero) = (v[2 * i : 2 * i + 2] for v in (case.scales, case.zero_points))
        threshold = quantized_threshold(case.score_threshold, cls_scale, cls_zero)
        integers += [*case.outputs[2 * i].shape[1:3], stride, float_bits(cls_scale), float_bits(box_scale)]
        integers += [cls_zero, box_zero, threshold]
        arrays += [case.outputs[2 * i], case.outputs[2 * i + 1], score_table(cls_scale, cls_zero)]
    return Call(1, integers, arrays, result.tobytes())


def all_calls() -> list[Call]:
    calls = []
    for layout in (preprocess_cases.RGB888, preprocess_cases.RGB565, preprocess_cases.YUYV):
        for resize in ("letterbox", "stretch"):
            for height, width in ((60, 80), (20, 14), (97, 130)):
                spec = PreprocessSpec(64, 32, resize=resize, mean=(123.675, 116.28, 103.53), std=(58.4, 57.1, 57.4))
                calls.append(preprocess_call(layout, height, width, spec))
    for seed in range(6):
        for strides in ((8, 16, 32), (5, 7, 12)):
            case = detect_cases.random_case(seed, detect_cases.spec_of(1 + seed % 4, strides), 160, 160, mean=-1.0)
            case = replace(case, nms_iou=(0.65, 0.3)[seed % 2], max_candidates=(1000, 40)[seed % 2])
            calls.append(detect_call(case, Placement(640, 480 + seed, 160, 120 + seed)))
    return calls


CALLS = all_calls()


def differences(results: list) -> list[str]:
    """What went wrong, a line for each call that did."""
    return [
        f"call {number} of function {call.function}: status {result.status}, {len(result.output)} bytes"
        for number, (call, result) in enumerate(zip(CALLS, results, strict=True))
        if result.status != 0 or result.output.tobytes() != call.expected
    ]


def test_calls_cover_something() -> None:
    assert min(len(call.expected) for call in CALLS) >= 24


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_vision_under_sanitizers_is_bit_exact(tmp_path: Path, compiler: str) -> None:
    sanitizers = chip_run.host_build.SANITIZERS
    runner = chip_run.build_host(tmp_path, compiler, sanitizers, chip_run.vision_sources())
    assert differences(runner.run(CALLS, tmp_path)) == []


@pytest.mark.parametrize("target", sorted(chip_run.TARGETS))
def test_vision_on_chip_is_bit_exact(tmp_path: Path, target: str) -> None:
    options = ("-O2", "-ffp-contract=fast")
    runner = chip_run.build_chip(tmp_path, target, options, chip_run.vision_sources())
    assert differences(runner.run(CALLS, tmp_path)) == []
