"""The simulator against its two witnesses, TFLite's reference kernels and TFLite Micro; not a test itself."""

from __future__ import annotations

import numpy as np

from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.simulate.simulator import Simulator

ARENA_BYTES = 16_000_000


def assert_equals_witnesses(
    graph: g.Graph, q_inputs: tuple[np.ndarray, ...], reference: bool = True, tflm: bool = True
) -> dict[int, np.ndarray]:
    """Compare every tensor with the reference kernels and every output with TFLite Micro, 0 LSB.

    Args:
        graph: written and read again before it runs.
        q_inputs: one array for each input.
        reference: False: where TFLite's kernel is known to be wrong, or refuses.
        tflm: False: where TFLite Micro has no kernel.
    Returns:
        Tensor index -> what the simulator computed.
    """
    # Here, so that a test module without these packages can say so and skip.
    import tflite_micro
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    data = serialize(graph)
    graph = parse_tflite(data, "test")
    found = Simulator(graph).invoke_all(*q_inputs)
    if reference:
        tflite = Interpreter(
            model_content=data,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        tflite.allocate_tensors()
        for index, codes in zip(graph.inputs, q_inputs, strict=True):
            tflite.set_tensor(index, codes)
        tflite.invoke()
        for index, codes in found.items():
            np.testing.assert_array_equal(codes, tflite.get_tensor(index), err_msg=f"TFLite, tensor {index}")
    if not tflm:
        return found
    chip = tflite_micro.runtime.Interpreter.from_bytes(data, arena_size=ARENA_BYTES)
    for position, codes in enumerate(q_inputs):
        chip.set_input(codes, position)
    chip.invoke()
    for position, index in enumerate(graph.outputs):
        np.testing.assert_array_equal(found[index], chip.get_output(position), err_msg=f"TFLM, output {position}")
        assert found[index].dtype == np.dtype(graph.tensors[index].dtype)
    return found
