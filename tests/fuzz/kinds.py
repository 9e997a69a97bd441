"""The kinds of files that a stranger can hand over: how each is damaged, and who reads it; not a test itself."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import tempfile
import zipfile
from abc import ABC, abstractmethod
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from edgedet.codegen.templates import contract_values, template_environment
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.build import load_split
from edgedet.data.pictures.headers import read_header
from edgedet.data.pictures.preprocess import load_image
from edgedet.escape import json_text
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.metadata import METADATA_NAME, contract_metadata
from edgedet.graph.model import load_int8_model
from edgedet.hardware.board import ROLES, load_board
from edgedet.hardware.placement import Need, place, room_for
from edgedet.hardware.text import boards_text
from edgedet.head_spec import HeadSpec
from edgedet.resources import resource_dir


def _module(path: str) -> ModuleType:
    """A file of the tests, which have no package."""
    file = Path(__file__).parents[1] / path
    if file.stem in sys.modules:
        return sys.modules[file.stem]
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


trees = _module("fuzz/trees.py")


class Kind(ABC):
    """One kind of file."""

    suffix: str

    @abstractmethod
    def damaged(self, rng: np.random.Generator) -> bytes:
        """A file with something wrong."""

    @abstractmethod
    def read(self, path: Path) -> None:
        """All that edgedet does with such a file. Raises an EdgedetError when it refuses it."""


class Flatbuffer(Kind):
    """Bytes and graphs of a `.tflite`: tests/graph/fuzz_flatbuffer.py."""

    suffix = ".tflite"

    def __init__(self) -> None:
        self._fuzzer = _module("graph/fuzz_flatbuffer.py")
        self._seeds = self._fuzzer.generated_seeds()

    def damaged(self, rng: np.random.Generator) -> bytes:
        seed = self._seeds[int(rng.integers(len(self._seeds)))]
        data: bytes = self._fuzzer.damage(rng, seed, self._seeds)
        return data

    def read(self, path: Path) -> None:
        self._fuzzer.read_all(path.read_bytes())


class Metadata(Kind):
    """The contracts inside a `.tflite`; what is accepted is written as C."""

    suffix = ".tflite"

    def __init__(self) -> None:
        seeds = _module("graph/fuzz_flatbuffer.py").generated_seeds()
        graph = next(seed.graph for seed in seeds if seed.name == "generated 4")
        self._graph = graph
        names = ("cls_16", "box_16")
        outputs = OutputSpec(("a", "b", "c", "d"), strides=(16,), category_ids=(1, 2, 3, 4))
        head = HeadSpec(kind="yolox", coding="yolox", tensors=names, variances=(1.0, 2.0, 3.0, 4.0), offset=0.5)
        specs = (outputs, replace(outputs, head=head))
        self._trees = [
            json.loads(contract_metadata(PreprocessSpec(32, 64), spec, dict(zip(names, names, strict=True)))[1])
            for spec in specs
        ]
        self._environment = template_environment("tflm")

    def damaged(self, rng: np.random.Generator) -> bytes:
        tree = self._trees[int(rng.integers(len(self._trees)))]
        if rng.random() < 0.85:
            text = json.dumps(trees.damage_tree(rng, tree)).encode()
        else:
            text = trees.damage_bytes(rng, json.dumps(tree).encode())
        if rng.random() < 0.02:
            text = text.replace(b":", b":" + b"[" * int(rng.choice([10, 100_000])), 1)
        return serialize(replace(self._graph, metadata=((METADATA_NAME, text),)))

    def read(self, path: Path) -> None:
        model = load_int8_model(path)
        if model.has_c_decoder:
            values = {**contract_values(model), "edgedet_version": "0", "model_sha256": "0"}
            self._environment.get_template("contract.h.j2").render(values)


class Coco(Kind):
    """COCO annotations of three pictures, beside which they stand."""

    suffix = ".json"

    def __init__(self) -> None:
        self._folder = Path()
        images = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 6} for i in (1, 2, 3)]
        annotations = [
            {"id": i, "image_id": 1 + i % 3, "category_id": 1 + i % 2, "bbox": [1, 1.5, 3, 2], "area": 6, "iscrowd": 0}
            for i in range(1, 6)
        ]
        categories = [{"id": i, "name": name, "supercategory": "thing"} for i, name in ((1, "a"), (2, "b"))]
        self._tree = {"info": {}, "images": images, "annotations": annotations, "categories": categories}

    def damaged(self, rng: np.random.Generator) -> bytes:
        if rng.random() < 0.85:
            text = json.dumps(trees.damage_tree(rng, self._tree)).encode()
        else:
            text = trees.damage_bytes(rng, json.dumps(self._tree).encode())
        if rng.random() < 0.02:
            text = text.replace(b":", b":" + b"[" * int(rng.choice([10, 100_000])), 1)
        return text

    def read(self, path: Path) -> None:
        for number in (1, 2, 3):
            picture = path.parent / f"{number}.png"
            if not picture.exists():
                Image.new("RGB", (8, 6)).save(picture)
        load_split(None, "train", ann=path, images=path.parent)


class Checkpoint(Kind):
    """Files of torch.save, as `train` writes them: values, pickles, zip members and bytes."""

    suffix = ".pt"

    def __init__(self) -> None:
        import torch

        from edgedet.net.families import build_detector

        file = load_model_file("rtmdet_pico_relu6", ("widen=0.0625", "deepen=0.1", "stacked_convs=1"))
        weights = build_detector(file.model, 2).state_dict()
        contracts = (file.preprocess.spec((64, 64)).to_json(), OutputSpec(("a", "b")).to_json())
        spec = {"model": asdict(file.model), "preprocess": contracts[0], "outputs": contracts[1]}
        spec = json.loads(json.dumps(spec))  # lists, as damage takes them
        self._frame = {
            "format": "edgedet-checkpoint",
            "version": 1,
            "spec": spec,
            "info": {"epoch": 3, "identity": {"train": asdict(file.train), "seed": 0}, "history": [{"epoch": 1}]},
        }
        self._meta = {
            "cfg": "model = dict(backbone=dict(act_cfg=dict(type='ReLU6')))",
            "dataset_meta": {"classes": ["a", "b"]},
        }
        self._weights = weights
        self._torch = torch
        self._sound = self._saved(self._whole(self._frame, weights))

    def _whole(self, frame: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
        return {**frame, "state_dict": weights}

    def _described(self, rng: np.random.Generator) -> dict[str, Any]:
        """What stands beside the weights, damaged."""
        damaged: dict[str, Any] = trees.damage_tree(rng, self._frame, self._odd)
        return damaged

    def _saved(self, content: Any, zip_form: bool = True) -> bytes:
        buffer = io.BytesIO()
        self._torch.save(content, buffer, _use_new_zipfile_serialization=zip_form)
        return buffer.getvalue()

    def _odd(self, rng: np.random.Generator) -> Any:
        torch = self._torch
        match int(rng.integers(10)):
            case 0:
                return torch.zeros(int(rng.integers(3)))
            case 1:
                return torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8)
            case 2:
                return torch.zeros(4).to_sparse()
            case 3:
                return torch.zeros((4,), device="meta")
            case 4:
                return torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)])
            case 5:
                return torch.zeros(1).expand(1 << int(rng.integers(1, 40)))
            case 6:
                value: list[Any] = []
                for _ in range(60):
                    value = [value, value]
                return value
            case 7:
                return torch.zeros(2, dtype=[torch.complex64, torch.bool, torch.float8_e4m3fn][int(rng.integers(3))])
        return trees.odd_value(rng)

    def damaged(self, rng: np.random.Generator) -> bytes:
        match int(rng.integers(5)):
            case 0 | 1:
                return self._saved(self._whole(self._described(rng), self._weights))
            case 2:
                weights = dict(self._weights)
                for _ in range(int(rng.integers(1, 4))):
                    weights[list(weights)[int(rng.integers(len(weights)))]] = self._odd(rng)
                return self._saved(self._whole(self._frame, weights), rng.random() < 0.7)
            case 3:
                return self._other_zip(rng)
        data: bytes = trees.damage_bytes(rng, self._sound, None if rng.random() < 0.5 else 4096)
        return data

    def _other_zip(self, rng: np.random.Generator) -> bytes:
        """The same members with damage inside one of them, which their checksums do not show."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(self._sound)) as source, zipfile.ZipFile(buffer, "w") as target:
            for name in source.namelist():
                data = source.read(name)
                if name.endswith("data.pkl"):
                    data = trees.damage_bytes(rng, data)
                elif rng.random() < 0.001:
                    continue
                packed = zipfile.ZIP_DEFLATED if rng.random() < 0.0005 else zipfile.ZIP_STORED
                target.writestr(name, data + bytes(1 << 24 if rng.random() < 0.0005 else 0), compress_type=packed)
        return buffer.getvalue()

    def read(self, path: Path) -> None:
        from edgedet.net.checkpoint import load_checkpoint

        load_checkpoint(path)


class Foreign(Checkpoint):
    """Checkpoints of other makers: weights with MMDetection's names, a configuration as text, classes."""

    def _whole(self, frame: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
        return {"state_dict": weights, "meta": frame.get("meta", self._meta)}

    def _described(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"meta": trees.damage_tree(rng, self._meta, self._odd)}

    def read(self, path: Path) -> None:
        from edgedet.errors import EdgedetError
        from edgedet.exchange.checkpoints.api import ImportRequest, import_checkpoint, list_keys
        from edgedet.exchange.checkpoints.architecture import Choices
        from edgedet.exchange.checkpoints.contracts import InputChoices

        inputs, network = InputChoices(preset="mmdet", imgsz=(64, 64)), Choices(bn_eps=1e-5)
        imported = ImportRequest(path, path.with_name("imported.pt"), inputs=inputs, network=network)
        refused = None
        for reader in (list_keys, import_checkpoint):
            try:
                reader(imported)
            except EdgedetError as error:
                refused = refused or error
        if refused is not None:
            raise refused


class Toml(Kind):
    """Model files."""

    suffix = ".toml"

    def __init__(self) -> None:
        self._texts = [path.read_text(encoding="utf-8") for path in sorted(resource_dir("models").glob("*.toml"))]

    def damaged(self, rng: np.random.Generator) -> bytes:
        text = self._texts[int(rng.integers(len(self._texts)))]
        if rng.random() < 0.3:
            data: bytes = trees.damage_bytes(rng, text.encode())
            return data
        lines = text.splitlines()
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(lines)))
            key = lines[at].partition("=")[0]
            lines[at] = f"{key}= {self._value(rng)}" if "=" in lines[at] else lines[int(rng.integers(len(lines)))]
        return "\n".join(lines).encode("utf-8", "surrogatepass")

    @staticmethod
    def _value(rng: np.random.Generator) -> str:
        depth = int(rng.choice([5, 500, 20_000]))
        return str(
            rng.choice(
                ["nan", "inf", "-inf", "true", "0", "-1", "1e300", "1e-300", "0x" + "f" * 3000, "9" * 5000, "''",
                 "'\\u0000'", "1979-05-27", "[" * depth, "[" * depth + "]" * depth, "[1, 'a']", "[]", "{a = 1}",
                 '"\\ud800"', '"' + "y" * 70_000 + '"', "1\na.b.c = 1", "1\n" + ".".join("a" * 2000) + " = 1",
                 "1\n[[model]]", str(2**63), str(10**18), "1.5", "16", "1000000"]
            )
        )  # fmt: skip

    def read(self, path: Path) -> None:
        file = load_model_file(str(path))
        file.preprocess.spec()


class BoardToml(Toml):
    """Board files."""

    def __init__(self) -> None:
        folder = resource_dir("firmware_export") / "boards"
        self._texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.toml"))]

    def read(self, path: Path) -> None:
        board = load_board(str(path))
        needs = [Need(role, 1 << 18, "") for role in ROLES]
        text = boards_text((board,)) + json_text(board.to_json())
        assert board.name in text
        place(board, needs)
        room_for(board, "arena", needs)


class ImageFile(Kind):
    """Pictures of every format that is opened: headers mostly."""

    suffix = ".jpg"

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        rgb = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        wide = Image.fromarray(rng.integers(0, 65536, (12, 16), dtype=np.uint16))
        exif = Image.Exif()
        exif[0x0112] = 6
        self._files = []
        pictures: list[tuple[Image.Image, str, dict[str, Any]]] = [
            (rgb, "JPEG", {"exif": exif}),
            (rgb.convert("CMYK"), "JPEG", {}),
            (rgb, "JPEG", {"progressive": True}),
            (rgb, "PNG", {"exif": exif}),
            (rgb.convert("P"), "PNG", {"transparency": 3}),
            (rgb.convert("RGBA"), "PNG", {}),
            (wide, "PNG", {}),
            (wide, "TIFF", {}),
            (rgb, "TIFF", {"compression": "tiff_lzw"}),
            (rgb, "TIFF", {}),
            (rgb, "WEBP", {"lossless": True}),
            (rgb, "WEBP", {"exif": exif}),
            (rgb, "BMP", {}),
            (rgb.convert("L"), "PPM", {}),
            (rgb, "PPM", {}),
            (rgb, "GIF", {"save_all": True, "append_images": [rgb.rotate(90)]}),
            (rgb, "EPS", {}),
        ]
        for picture, name, options in pictures:
            buffer = io.BytesIO()
            picture.save(buffer, format=name, **options)
            self._files.append(buffer.getvalue())

    def damaged(self, rng: np.random.Generator) -> bytes:
        data: bytes = trees.damage_bytes(rng, self._files[int(rng.integers(len(self._files)))], 120)
        return data

    def read(self, path: Path) -> None:
        read_header(path)
        load_image(path)


class DeviceReplies(Kind):
    """What a device sends: every file says how the replies of one are damaged, or how it lies."""

    suffix = ".script"

    def __init__(self) -> None:
        self._liar = _module("device_liar.py")

    def damaged(self, rng: np.random.Generator) -> bytes:
        script: bytes = self._liar.damaged_script(rng)
        return script

    def read(self, path: Path) -> None:
        answer = self._liar.run_session(path.read_bytes())
        if (answer.outputs, answer.detections) != (self._liar.OUTPUTS, self._liar.FOUND):
            raise RuntimeError("wrong outputs were taken for a result")


class DeviceRequests(Kind):
    """What comes to a device: the generated C, with sanitizers, reads it; its replies must be frames."""

    suffix = ".requests"

    def __init__(self) -> None:
        self._requests = _module("device_requests.py")
        self._folder = tempfile.TemporaryDirectory(prefix="edgedet-fuzz-")
        self._program = self._requests.build(Path(self._folder.name))

    def damaged(self, rng: np.random.Generator) -> bytes:
        stream: bytes = self._requests.damaged_stream(rng)
        return stream

    def read(self, path: Path) -> None:
        self._requests.serve(self._program, path)


KINDS: dict[str, type[Kind]] = {
    "flatbuffer": Flatbuffer,
    "metadata": Metadata,
    "coco": Coco,
    "checkpoint": Checkpoint,
    "import": Foreign,
    "toml": Toml,
    "board": BoardToml,
    "image": ImageFile,
    "replies": DeviceReplies,
    "requests": DeviceRequests,
}
# What the files are called in a table.
TITLES = {
    "flatbuffer": "`.tflite`: bytes and graphs",
    "metadata": "contracts inside a `.tflite`, written as C when they are accepted",
    "coco": "COCO annotations",
    "checkpoint": "checkpoints",
    "import": "checkpoints of other makers, by `edgedet import`",
    "toml": "model TOMLs",
    "board": "board TOMLs, with a placement on those that are accepted",
    "image": "pictures of all formats",
    "replies": "device protocol: replies of a device, read by edgedet",
    "requests": "device protocol: requests, read by the generated C under ASan and UBSan",
}
