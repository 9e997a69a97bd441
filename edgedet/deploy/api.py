"""`deploy`: from an int8 `.tflite` to a folder of sources for the chip."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.deploy.arena import ArenaReport, measure_arena, require_tflite_micro
from edgedet.deploy.golden import check_equal, golden_input
from edgedet.deploy.tflm import Golden, render_sources, require_jinja2
from edgedet.deploy.tflm_ops import OperatorUse, operators_used
from edgedet.errors import ConfigError, ToolchainError
from edgedet.evaluate.runtimes import Int8Model, load_int8_model
from edgedet.evaluate.simulator import Simulator

MANIFEST = "manifest.json"
_FORMAT = "edgedet-deploy"
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class DeployReport:
    """What was written."""

    target: str
    out: Path
    files: tuple[Path, ...]  # every file in `out`, the manifest last
    model_bytes: int
    operators: tuple[OperatorUse, ...]
    arena: ArenaReport
    golden_source: str  # where the golden input comes from


@dataclass(frozen=True)
class _Product:
    """A deployment in memory."""

    sources: dict[str, str]  # file name -> text
    manifest: dict[str, Any]
    operators: tuple[OperatorUse, ...]
    arena: ArenaReport
    golden_source: str


def deploy(
    model: Path,
    target: str,
    out: Path,
    *,
    arena_margin_bytes: int | None = None,
    image: Path | None = None,
    seed: int = 0,
) -> DeployReport:
    """Write the sources that run a model on a target, with its measured arena, its contracts and a self-test.

    Nothing is written before everything is computed and checked; the folder appears whole or not at all. The same
    arguments give the same bytes.

    Args:
        model: int8 `.tflite` with edgedet's metadata.
        target: `tflm` (TFLite Micro, C++).
        out: folder to write; it may exist when it is empty or an earlier deployment, which is then replaced.
        arena_margin_bytes: added to the measured arena; None: what CMSIS-NN's scratch needs, see `deploy.arena`.
        image: picture for the golden vectors; None: a drawn one.
        seed: of the drawn picture.
    Returns:
        What was written.
    Raises:
        ConfigError: unknown target, negative margin, or `out` holds something else.
        ConversionError: the file is damaged, lacks metadata, or TFLite Micro computes other bytes than the simulator.
        UnsupportedOpError: TFLite Micro has no kernel for an operator.
        ToolchainError: the extra `tflm` is missing, or TFLite Micro refuses the model.
        DataError: the image is missing or broken.
    """
    targets: dict[str, Callable[[Int8Model, int | None, Path | None, int], _Product]] = {"tflm": _deploy_tflm}
    if target not in targets:
        raise ConfigError(f"unknown target {target!r}; edgedet deploys to {', '.join(targets)}")
    if arena_margin_bytes is not None and arena_margin_bytes < 0:
        raise ConfigError(f"arena margin must be 0 bytes or more, got {arena_margin_bytes}")
    _check_replaceable(out)
    loaded = load_int8_model(model)
    product = targets[target](loaded, arena_margin_bytes, image, seed)
    _write_folder(out, product)
    return DeployReport(
        target=target,
        out=out,
        files=tuple(out / name for name in (*product.sources, MANIFEST)),
        model_bytes=len(loaded.data),
        operators=product.operators,
        arena=product.arena,
        golden_source=product.golden_source,
    )


def _deploy_tflm(model: Int8Model, arena_margin_bytes: int | None, image: Path | None, seed: int) -> _Product:
    require_jinja2()
    require_tflite_micro()
    operators = operators_used(model.graph, str(model.path))
    q_input = golden_input(model, image, seed)
    simulated = _contract_order(model, Simulator(model.graph).invoke(q_input))
    arena, measured = measure_arena(model.data, model.graph, q_input, arena_margin_bytes)
    check_equal(model.outputs.tensor_names, simulated, _contract_order(model, measured))
    source = f"drawn with seed {seed}" if image is None else f"image {image.name}, sha256 {_sha256(image.read_bytes())}"
    golden = Golden(source, q_input, simulated)
    sources = render_sources(model, _sha256(model.data), operators, arena, golden)
    manifest = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "target": "tflm",
        "model": {"name": model.path.name, "bytes": len(model.data), "sha256": _sha256(model.data)},
        "operators": [asdict(operator) for operator in operators],
        "arena": {
            **asdict(arena),
            "measured_with": "tflite_micro wheel, reference kernels, on the host",
            "margin_for": "CMSIS-NN scratch" if arena_margin_bytes is None else "given by the user",
        },
        "contract": {"preprocess": model.preprocess.to_json(), "outputs": model.outputs.to_json()},
        "golden": {
            "source": source,
            "input_sha256": _sha256(q_input.tobytes()),
            "outputs_sha256": {
                name: _sha256(array.tobytes())
                for name, array in zip(model.outputs.tensor_names, simulated, strict=True)
            },
            "checked": "NumPy simulator = TFLite Micro, every byte",
        },
        "versions": {
            "edgedet": __version__,
            "numpy": np.__version__,
            "tflite_micro": importlib.metadata.version("tflite-micro"),
        },
        "files": {
            name: {"bytes": len(text.encode("utf-8")), "sha256": _sha256(text.encode("utf-8"))}
            for name, text in sources.items()
        },
    }
    return _Product(sources, manifest, operators, arena, source)


def _contract_order(model: Int8Model, outputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(outputs[position] for position in model.output_positions)


def _check_replaceable(out: Path) -> None:
    """Refuse a path that holds anything but an earlier deployment."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out} is a file; deploy writes a folder, give another path")
    if not any(out.iterdir()):
        return
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ConfigError(
            f"{out} is not empty and holds no {MANIFEST} of an earlier deployment; give a new or empty folder"
        )
    strangers = sorted({path.name for path in out.iterdir()} - set(found.get("files", {})) - {MANIFEST})
    if strangers:
        raise ConfigError(
            f"{out} holds files that deploy did not write ({', '.join(strangers)}); move them or give another folder"
        )


def _write_folder(out: Path, product: _Product) -> None:
    """Write to a temporary folder beside `out`, then swap the two by renaming."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
            fresh, old = Path(temporary) / "new", Path(temporary) / "old"
            fresh.mkdir()
            for name, text in product.sources.items():
                (fresh / name).write_text(text, encoding="utf-8")
            manifest = json.dumps(product.manifest, indent=2, ensure_ascii=False) + "\n"
            (fresh / MANIFEST).write_text(manifest, encoding="utf-8")
            if out.exists():
                os.rename(out, old)
            os.rename(fresh, out)
    except OSError as error:
        raise ToolchainError(f"{out}: can't be written ({error.strerror}); check permissions and free space") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
