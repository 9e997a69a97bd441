"""Operands of kernels that go through two tensors at once, of which one may be repeated along an axis."""

from __future__ import annotations

from edgedet.codegen.step_context import StepContext, c_struct
from edgedet.numerics.integer import quantize_multiplier


def check_leading_sides(ctx: StepContext, index: int, out: int) -> None:
    """Images of an operand are all of the output's, or one for all; anything between has no kernel."""
    rank = max(len(ctx.tensor(out).shape), 4)
    own, whole = ((1,) * (rank - len(shape)) + shape for shape in (ctx.tensor(i).shape for i in (index, out)))
    if own[:-3] != whole[:-3] and any(side != 1 for side in own[:-3]):
        raise ctx.unsupported(
            f"tensor {ctx.tensor(index).name!r} of shape {own} repeated to {whole} along leading sides"
        )


def operand_steps(ctx: StepContext, index: int) -> str:
    """edk_steps of an operand: 0 along an axis that is broadcast."""
    out = ctx.nhwc(ctx.step.outputs[0])
    own, pitch = ctx.nhwc(index), ctx.pitch(index)
    row = ctx.row_stride(index) if own[1] == out[1] and own[1] > 1 else 0
    pixel = pitch if own[2] == out[2] and own[2] > 1 else 0
    channel = 1 if own[3] == out[3] else 0
    if own == out:
        row, pixel = ctx.row_stride(index), pitch
    return c_struct(row, pixel, channel)


def scale_fields(
    ctx: StepContext, names: tuple[str, str], real: float, shifts: tuple[int, int]
) -> list[tuple[str, object]]:
    """Fields of a params struct that scale by a real number: (multiplier, shift) under two names."""
    multiplier, shift = quantize_multiplier(real)
    if not shifts[0] <= shift <= shifts[1]:
        raise ctx.unsupported(f"the ratio {real} of its scales is outside what the kernel computes")
    return [(names[0], multiplier), (names[1], shift)]


def image_pointers(ctx: StepContext, inputs: tuple[int, ...], out: int) -> list[tuple[str, ...]]:
    """Pointers of every image of a batch; an input with one image serves all."""
    batch = ctx.nhwc(out)[0]
    result = []
    for image in range(batch):
        pointers = [
            ctx.kernel_pointer(index, image * ctx.image_bytes(index) if ctx.nhwc(index)[0] == batch else 0)
            for index in inputs
        ]
        result.append((*pointers, ctx.kernel_pointer(out, image * ctx.image_bytes(out), written=True)))
    return result
