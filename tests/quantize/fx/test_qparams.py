from __future__ import annotations

import numpy as np
import pytest

from edgedet.contracts import PreprocessSpec
from edgedet.errors import ConversionError
from edgedet.quantize.fx.qparams import (
    AffineParams,
    affine_params,
    bias_codes,
    bias_scales,
    input_params,
    weight_codes,
    weight_scales,
)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0.0, 6.0, 6 / 255, -128),
        (-1.0, 0.0, 1 / 255, 127),
        (-1.0, 1.0, 2 / 255, 0),  # exact zero point -0.5: away from zero would be -1, -128 + 127.5 = -0.5
        (2.0, 4.0, 4 / 255, -128),  # widened to hold 0
        (-4.0, -2.0, 4 / 255, 127),
        (-0.27, 6.0, 6.27 / 255, -117),
    ],
)
def test_affine_params_range_gives_scale_and_zero_point(low, high, scale, zero_point):
    params = affine_params(low, high, "layer")
    assert params.scale == np.float32(scale)
    assert abs(params.zero_point - zero_point) <= (1 if low == -high else 0)
    assert params.scale.dtype == np.float32


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.0, 0.0, "all 0"),
        (0.0, 1e-40, "all 0"),
        (np.nan, 1.0, "finite"),
        (0.0, np.inf, "finite"),
        (1.0, -1.0, "no values"),
    ],
)
def test_affine_params_useless_range_names_the_layer(low, high, text):
    with pytest.raises(ConversionError, match=text) as error:
        affine_params(low, high, "backbone.stem.0.conv")
    assert "backbone.stem.0.conv" in str(error.value)


def test_affine_params_record_rejects_impossible_values():
    with pytest.raises(ConversionError):
        AffineParams(np.float32(0), 0)
    with pytest.raises(ConversionError):
        AffineParams(np.float32(1), 128)


def test_input_params_mean_0_std_255_makes_code_pixel_minus_128():
    params = input_params(PreprocessSpec(64, 64))
    assert params == AffineParams(np.float32(1 / 255), -128)
    pixels = np.arange(256)
    np.testing.assert_array_equal(np.rint(pixels / 255 / np.float64(params.scale)) + params.zero_point, pixels - 128)


def test_input_params_other_mean_and_std_reach_both_ends():
    spec = PreprocessSpec(64, 64, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    params = input_params(spec)
    low = min((0 - m) / s for m, s in zip(spec.mean, spec.std, strict=True))
    high = max((255 - m) / s for m, s in zip(spec.mean, spec.std, strict=True))
    step = float(params.scale)
    # The nudged zero point moves the ends by at most half a step.
    assert abs((-128 - params.zero_point) * step - low) <= step / 2 + 1e-6
    assert abs((127 - params.zero_point) * step - high) <= step / 2 + 1e-6


def test_weight_scales_per_channel_and_dead_channel():
    weight = np.array([[1.27, -0.5], [0.0, 0.0], [1e-9, 0.0], [-2.54, 2.0]], np.float32)[:, :, None, None]
    scales = weight_scales(weight, "layer")
    assert scales.dtype == np.float32
    np.testing.assert_allclose(scales[[0, 3]], [0.01, 0.02], rtol=1e-6)
    assert scales[1] == scales[2] == np.float32(np.float64(np.float32(2.54)) / 4096 / 127)
    np.testing.assert_array_equal(weight_codes(weight, scales)[:, :, 0, 0], [[127, -50], [0, 0], [0, 0], [-127, 100]])


def test_weight_scales_wholly_dead_layer_has_a_usable_scale():
    assert weight_scales(np.zeros((2, 3, 1, 1), np.float32), "layer").tolist() == [np.float32(1 / 127)] * 2


def test_weight_codes_ties_go_away_from_zero():
    scales = np.array([1.0], np.float32)
    weight = np.array([[0.5, -0.5, 1.5, -2.5, 127.0, -127.0]], np.float32)
    assert weight_codes(weight, scales).tolist() == [[1, -1, 2, -3, 127, -127]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weight_scales_not_finite_names_the_tensor(bad):
    weight = np.ones((2, 1, 1, 1), np.float32)
    weight[1] = bad
    with pytest.raises(ConversionError, match=r"head\.conv\.weight: 1 of 2 values"):
        weight_scales(weight, "head.conv")


def test_bias_codes_are_bias_over_input_scale_times_weight_scale():
    scales = bias_scales(np.float32(0.5), np.array([0.25, 0.125], np.float32))
    assert scales.tolist() == [0.125, 0.0625]
    codes = bias_codes(np.array([1.0, -0.03125], np.float32), scales, np.zeros((2, 1), np.int8), "layer")
    assert codes.dtype == np.int32
    assert codes.tolist() == [8, -1]  # -0.5 away from zero


@pytest.mark.parametrize("bias", [3e9, -3e9])
def test_bias_codes_beyond_int32_names_tensor_and_channel(bias):
    with pytest.raises(ConversionError, match=r"neck\.conv\.bias: channel 1") as error:
        bias_codes(np.array([0, bias], np.float32), np.ones(2, np.float32), np.ones((2, 4), np.int8), "neck.conv")
    assert "int32" in str(error.value)


def test_bias_codes_leave_room_for_the_accumulator():
    # 2^31 - 1 - 4 * 127 * 255 would just fit; float32 biases near it are multiples of 128.
    codes = np.full((1, 4), 127, np.int8)
    fits = np.array([2**31 - 129664], np.float32)
    assert bias_codes(fits, np.ones(1, np.float32), codes, "c").tolist() == [2**31 - 129664]
    with pytest.raises(ConversionError):
        bias_codes(fits + 128, np.ones(1, np.float32), codes, "c")


def test_bias_codes_underflowed_scale_is_an_error():
    with np.errstate(all="ignore"), pytest.raises(ConversionError):
        bias_codes(np.zeros(1, np.float32), np.zeros(1, np.float32), np.ones((1, 1), np.int8), "c")
