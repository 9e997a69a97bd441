"""The sliding window of a convolution or pooling as the kernels take it."""

from __future__ import annotations

from edgedet.codegen.step_context import MAX_SIDE, StepContext, c_struct
from edgedet.graph.graph import ConvOptions, DepthwiseConvOptions, PoolOptions
from edgedet.graph.operators import window_padding


def window_struct(
    ctx: StepContext, kernel: tuple[int, int], options: ConvOptions | DepthwiseConvOptions | PoolOptions
) -> str:
    """edk_window; padding of a folded PAD is added to the operator's own."""
    dilation = (1, 1) if isinstance(options, PoolOptions) else options.dilation
    pads = []
    for axis in (0, 1):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        # The operator's own input is the padded one: the tensor that the last operator of the step names.
        size = ctx.tensor(ctx.op.operator.inputs[0]).shape[1 + axis]
        _, before, _ = window_padding(size, reach, options.stride[axis], options.padding, ctx.op.where)
        pads.append(before + ctx.step.pad[axis] if ctx.step.explicit_pad is None else ctx.step.explicit_pad[axis])
    values = (*kernel, *options.stride, *dilation, *pads)
    if max(values) > MAX_SIDE:
        raise ctx.unsupported(f"a window of {values} (kernel, stride, dilation, padding); sides go up to {MAX_SIDE}")
    return c_struct(*values)
