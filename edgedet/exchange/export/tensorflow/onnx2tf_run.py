"""Runs onnx2tf in a process of its own: python -m edgedet.exchange.export.tensorflow.onnx2tf_run FOLDER.

Its own process, because onnx2tf switches TensorFlow to the old Keras, hides all warnings and ends Python on errors. At
start it loads a picture from the internet for a comparison of its own; here it gets a grey one. FOLDER holds model.onnx
and probe.npz (`input`, NHWC, and the expected outputs, NHWC, by name) and gets onnx2tf's files, and with them `named`:
the SavedModel with a signature of these names, and `found.npz`, what that gives for the input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.exchange.export.tensorflow.output_match import match_outputs

MODEL, PROBE, CONVERTED, NAMED, FOUND = "model.onnx", "probe.npz", "converted", "named", "found.npz"


def main(folder: Path) -> None:
    """Convert, name and run.

    Args:
        folder: as above.
    """
    import onnx
    import tensorflow as tf

    # import_module's name: `onnx2tf.onnx2tf` is the module whose function the package shows under its own name.
    from onnx2tf import onnx2tf

    probe = dict(np.load(folder / PROBE))
    x = probe.pop("input")
    grey = np.full(x.shape, 0.5, np.float32)
    onnx2tf.download_test_image_data = lambda: grey
    model = onnx.load(folder / MODEL)
    onnx2tf.convert(
        onnx_graph=model, output_folder_path=str(folder / CONVERTED), not_use_onnxsim=True, non_verbose=True
    )
    loaded = tf.saved_model.load(str(folder / CONVERTED))
    _save_named(tf, loaded, x, probe, folder / NAMED)
    again = tf.saved_model.load(str(folder / NAMED)).signatures["serving_default"]
    np.savez(folder / FOUND, **{name: value.numpy() for name, value in again(input=tf.constant(x)).items()})


def _save_named(tf: Any, loaded: Any, x: np.ndarray, expected: dict[str, np.ndarray], folder: Path) -> None:
    """SavedModel whose signature has edgedet's names."""
    function = loaded.signatures["serving_default"]
    (argument,) = function.structured_input_signature[1]
    given = function(**{argument: tf.constant(x)})
    keys = list(given)
    order = match_outputs(expected, [given[key].numpy() for key in keys])

    class Named(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        """The loaded network under other names."""

        def __init__(self) -> None:
            super().__init__()
            self.network = loaded

        @tf.function(input_signature=[tf.TensorSpec(x.shape, tf.float32, name="input")])  # type: ignore[untyped-decorator]
        def __call__(self, input: Any) -> dict[str, Any]:
            """Outputs by name."""
            outputs = self.network.signatures["serving_default"](**{argument: input})
            return {name: tf.identity(outputs[keys[place]], name=name) for name, place in order.items()}

    named = Named()
    tf.saved_model.save(named, str(folder), signatures={"serving_default": named.__call__})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
