"""The file that a target around TFLite Micro is given: read once, run by the simulator, described in the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.deploy.golden import Golden, drawn_input, golden_input
from edgedet.deploy.output_folder import sha256
from edgedet.errors import ConfigError, ConversionError, UnsupportedOpError
from edgedet.fileio import read_bytes
from edgedet.graph.check import refuse_compiled
from edgedet.graph.flatbuffer import parse_tflite
from edgedet.graph.graph import Graph
from edgedet.graph.metadata import METADATA_NAME
from edgedet.graph.model import Int8Model, load_int8_model
from edgedet.graph.prepare.load import prepare_tflite
from edgedet.graph.prepare.uint8_to_int8 import is_uint8
from edgedet.simulate.simulator import Simulator


@dataclass(frozen=True, eq=False)
class TflmSource:
    """The file that was given."""

    path: Path
    data: bytes
    graph: Graph
    model: Int8Model | None  # with contracts that C code can follow, as in target c99
    prepared: Int8Model | None  # with contracts of any head: an image can become the input
    notes: tuple[str, ...] = ()  # what was changed in the file

    @property
    def decoder(self) -> str:
        """Why C follows the contracts of no head like this one; empty where it does, or without contracts."""
        return "" if self.prepared is None else self.prepared.why_no_c_decoder

    @property
    def output_names(self) -> tuple[str, ...]:
        """In contract order, or of the file."""
        if self.model is not None:
            return self.model.outputs.tensor_names
        return tuple(self.graph.tensors[index].name for index in self.graph.outputs)

    def ordered(self, outputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Outputs of the file in the order of `output_names`."""
        if self.model is None:
            return tuple(outputs)
        return tuple(outputs[position] for position in self.model.output_positions)

    def contract_entry(self) -> dict[str, Any] | None:
        """For the manifest; None: there are no contracts."""
        if self.prepared is None:
            return None
        return {"preprocess": self.prepared.preprocess.to_json(), "outputs": self.prepared.outputs.to_json()}


def read_source(path: Path, image: Path | None) -> TflmSource:
    """Read the file.

    Args:
        path: `.tflite` of any maker.
        image: picture for the golden vectors, which needs contracts; None: a drawn one.
    Raises:
        ConversionError: missing or damaged.
        ConfigError: an image, but no contracts.
        UnsupportedOpError: compiled for an accelerator, or a uint8 file that has no int8 form.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise ConversionError(f"{path}: can't read the model ({error.strerror}); check the path") from error
    graph = parse_tflite(data, str(path))
    refuse_compiled(graph, str(path))
    if any(name == METADATA_NAME for name, _ in graph.metadata):
        model = load_int8_model(path)
        decoded = model if model.has_c_decoder else None
        return TflmSource(path, model.data, model.graph, decoded, model, model.notes)
    if image is not None:
        raise ConfigError(
            f"{path} carries no preprocessing contract, so no image can become its input; leave the image out, or add "
            "the contracts with `edgedet contract`"
        )
    if is_uint8(graph):
        try:
            loaded = prepare_tflite(data, str(path))
        except UnsupportedOpError as error:
            raise UnsupportedOpError(f"{error}. TFLite Micro has no uint8 kernels") from error
        return TflmSource(path, loaded.data, loaded.graph, None, None, loaded.notes)
    return TflmSource(path, data, graph, None, None)


def source_inputs(source: TflmSource, image: Path | None, seed: int) -> tuple[np.ndarray, ...]:
    """The golden inputs, in the order of the file."""
    if source.prepared is not None:
        return (golden_input(source.prepared, image, seed),)
    return tuple(drawn_input(source.graph, index, seed + number) for number, index in enumerate(source.graph.inputs))


def simulate_source(source: TflmSource, inputs: Sequence[np.ndarray]) -> tuple[tuple[np.ndarray, ...] | None, str]:
    """(outputs in the order of the file, ""), or (None, why the simulator does not run it)."""
    try:
        return Simulator(source.graph).invoke(*inputs), ""
    except (ConversionError, UnsupportedOpError) as error:
        # What is the matter, without advice: the file needs none on its way to TFLite Micro.
        return None, str(error).removeprefix("this model: ").partition("; ")[0]


def golden_entry(source: TflmSource, golden: Golden, graph: Graph | None = None) -> dict[str, Any]:
    """The golden vectors in the manifest.

    Args:
        source: the file.
        golden: its vectors.
        graph: what was compiled of it, in whose order the outputs are where there are no contracts; None: the file.
    """
    checked = "NumPy simulator = TFLite Micro, every byte"
    if golden.unchecked:
        checked = f"TFLite Micro alone, not cross-checked by the simulator: {golden.unchecked}"
    if source.model is not None:
        outputs = zip(source.output_names, golden.outputs, strict=True)
        return {
            "source": golden.source,
            "input_sha256": sha256(golden.inputs[0].tobytes()),
            "outputs_sha256": {name: sha256(array.tobytes()) for name, array in outputs},
            "checked": checked,
        }
    graph = source.graph if graph is None else graph
    return {
        "source": golden.source,
        "inputs": _tensor_entries(graph, graph.inputs, golden.inputs),
        "outputs": _tensor_entries(graph, graph.outputs, golden.outputs),
        "checked": checked,
    }


def _tensor_entries(graph: Graph, indices: Sequence[int], arrays: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """In the order of the file; names need not be unique there."""
    return [
        {
            "name": graph.tensors[index].name,
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "sha256": sha256(array.tobytes()),
        }
        for index, array in zip(indices, arrays, strict=True)
    ]
