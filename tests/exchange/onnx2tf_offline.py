"""Run onnx2tf in a process of its own: python onnx2tf_offline.py model.onnx folder.

Its own process, because onnx2tf switches TensorFlow to the old Keras, hides all warnings and ends Python on errors. At
start it loads a picture from the internet for a comparison of its own; here it gets a grey one, and no connection.
"""

from __future__ import annotations

import socket
import sys

import numpy as np
import onnx


def no_connection(*args: object) -> None:
    raise OSError(f"this test is offline, but something wanted to connect to {args[1:]}")


def main(source: str, folder: str) -> None:
    socket.socket.connect = no_connection  # type: ignore[method-assign, assignment]
    # import_module's name: `onnx2tf.onnx2tf` is the module whose function the package shows under its own name.
    from onnx2tf import onnx2tf

    model = onnx.load(source)
    channels, height, width = (dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:])
    grey = np.full((1, height, width, channels), 0.5, np.float32)
    onnx2tf.download_test_image_data = lambda: grey
    onnx2tf.convert(onnx_graph=model, output_folder_path=folder, not_use_onnxsim=True, non_verbose=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
