"""All that decides what is quantized of an ONNX network: its ending and contracts, said, written down or found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.split import CocoSplit
from edgedet.exchange.onnx_in.heads.cut import Ending, choose_ending
from edgedet.exchange.onnx_in.heads.structure import Structure
from edgedet.exchange.onnx_in.load import OnnxNetwork
from edgedet.exchange.onnx_in.meaning import input_contract, output_contract
from edgedet.exchange.onnx_in.own_contract import read_own_contract
from edgedet.exchange.onnx_in.request import OnnxRequest
from edgedet.graph.graph import Graph


@dataclass(frozen=True, eq=False)
class Described:
    """Where a network ends, and its contracts."""

    ending: Ending
    preprocess: PreprocessSpec
    outputs: OutputSpec
    describe: Callable[[Graph], Graph] | None  # attaches the final contract, where it needs the int8 graph
    notes: tuple[str, ...]


def describe_network(
    network: OnnxNetwork, request: OnnxRequest, net: Structure, constants: dict[str, np.ndarray], split: CocoSplit
) -> Described:
    """Ending and contracts: what the caller says, else what edgedet wrote into the file, else what is found in it.

    Args:
        network: the file.
        request: what the caller said.
        net: the network, without QuantizeLinear and DequantizeLinear.
        constants: of it.
        split: pictures; annotated ones also tell the classes.
    Raises:
        ConfigError: nobody says something that must be known.
    """
    own, remarks = read_own_contract(network, net.shapes, request)
    labelled = split if split.class_names else None
    contract = request.contract
    if own is not None:
        contract = own.complete(contract)
        ending = own.ending(net, constants, request)
        if ending is not None:
            outputs = own.described(contract, str(network.path))
            preprocess, notes = input_contract(network, contract, outputs.head.kind)
            preprocess = replace(preprocess, interpolation=own.preprocess.interpolation)
            return Described(ending, preprocess, outputs, None, (*remarks, *ending.notes, *notes))
    count = None if contract.classes is None else len(contract.classes)
    ending = choose_ending(net, constants, request.outputs, request.cut, contract.head, count, str(network.path))
    kind = contract.head if ending.head is None else ending.head.head.kind
    preprocess, notes = input_contract(network, contract, kind)
    if own is not None:
        preprocess = replace(preprocess, interpolation=own.preprocess.interpolation)
    outputs, describe = output_contract(network, contract, ending, labelled)
    return Described(ending, preprocess, outputs, describe, (*remarks, *ending.notes, *notes))
