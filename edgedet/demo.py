"""`make demo`: the whole way on synthetic images, from a trained checkpoint to sources for the chip.

Every step calls one function of the package, after printing the command line that does the same.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.errors import EdgedetError
from edgedet.progress import Stopwatch, show_progress
from edgedet.resources import resource_dir
from edgedet.streams import prepare_streams
from edgedet.threads import let_threads_sleep, limit_blas_threads

# Whatever loads NumPy is imported inside functions, after main() has limited its threads.
if TYPE_CHECKING:
    from edgedet.data.coco.split import CocoSplit
    from edgedet.evaluate.evaluator import EvalReport
    from edgedet.quantize.report import QuantizeReport
    from edgedet.runtimes.protocol import Runtime

CHECKPOINT = "rtmdet_pico_relu6_synth.pt"  # in models/, trained on the training images of another seed
IMAGES = 400  # 320 to calibrate from, 80 to evaluate on
SEED = 2024
CALIB_IMAGES = 128
PICTURES = 4


@dataclass(frozen=True)
class DemoResult:
    """The row of figures that the demo ends with."""

    ap_float: float  # COCO AP 0.50:0.95, -1..1
    ap_int8: float
    checkpoint_bytes: int
    model_bytes: int
    arena_bytes: int
    float_ms: float  # per image on this machine: preprocess + invoke + decode
    int8_ms: float
    seconds: float  # of the whole demo
    paths: tuple[tuple[str, Path], ...]  # what it is, and where

    def text(self) -> str:
        """The table and the paths, each line with its end."""
        rows = (
            ("", "float", "int8"),
            ("AP (COCO, 0.50:0.95)", f"{self.ap_float:.3f}", f"{self.ap_int8:.3f}"),
            ("file, bytes", f"{self.checkpoint_bytes:,}", f"{self.model_bytes:,}"),
            ("arena on the chip, bytes", "-", f"{self.arena_bytes:,}"),
            ("ms per image, this machine", f"{self.float_ms:.1f}", f"{self.int8_ms:.1f}"),
        )
        table = "".join(f"{name:<28}{one:>14}{two:>14}\n" for name, one, two in rows)
        width = max(len(name) for name, _ in self.paths)
        return table + "\n" + "".join(f"{name:<{width}}  {path}\n" for name, path in self.paths)


def run_demo(out: Path, checkpoint: Path, images: int, seed: int) -> DemoResult:
    """Draw images, quantize, evaluate both forms, draw detections, deploy; prints as it goes.

    Args:
        out: folder for everything; what an earlier demo wrote there is replaced.
        checkpoint: trained on the classes of the synthetic data set.
        images: synthetic images of both splits together.
        seed: of the images.
    Returns:
        The figures.
    Raises:
        EdgedetError: what the steps raise.
    """
    from edgedet.data.paths import DataPaths
    from edgedet.deploy.api import deploy
    from edgedet.evaluate.predict import predict
    from edgedet.net.runtime import TorchRuntime
    from edgedet.runtimes.open import open_runtime

    watch = Stopwatch()
    data, firmware, pictures = out / "synth", out / "firmware", out / "pictures"
    _draw(data, images, seed)
    quantized = _quantize(checkpoint, data, out / "quantized")

    valid = DataPaths(data).load("valid")
    float_report = _measure(checkpoint, TorchRuntime.from_checkpoint(checkpoint), valid, data)
    int8 = open_runtime(quantized.model, "sim")
    int8_report = _measure(quantized.model, int8, valid, data)

    shown = [record.path for record in valid.images[:PICTURES]]
    _announce("predict", quantized.model, *shown, "--out", pictures)
    predict(int8, shown, pictures)

    _announce("deploy", quantized.model, "--target", "tflm", "--out", firmware)
    deployed = deploy(quantized.model, "tflm", firmware)

    return DemoResult(
        ap_float=float_report.ap.ap,
        ap_int8=int8_report.ap.ap,
        checkpoint_bytes=checkpoint.stat().st_size,
        model_bytes=quantized.model_bytes,
        arena_bytes=deployed.arena_bytes,
        float_ms=float_report.timings.total_ms,
        int8_ms=int8_report.timings.total_ms,
        seconds=watch.seconds(),
        paths=(
            ("synthetic data set", data),
            ("int8 model", quantized.model),
            ("detections drawn", pictures),
            ("sources for the chip", firmware),
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo.

    Args:
        argv: arguments without the program's name; None takes the process's.
    Returns:
        Exit code: 0; 2 after an error that the user can act on.
    """
    parser = argparse.ArgumentParser(prog="python -m edgedet.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo_out"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--images", type=int, default=IMAGES, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help="default: %(default)s")
    parser.add_argument("--checkpoint", type=Path, metavar="CKPT", help=f"default: models/{CHECKPOINT}")
    limit_blas_threads()
    prepare_streams()
    let_threads_sleep()
    args = parser.parse_args(argv)
    try:
        checkpoint = args.checkpoint or _relative(resource_dir("models") / CHECKPOINT)
        result = run_demo(args.out, checkpoint, args.images, args.seed)
    except (EdgedetError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"\n{result.text()}\nThe whole way took {result.seconds:.0f} s.")
    return 0


def _draw(data: Path, images: int, seed: int) -> None:
    """Draw the synthetic data set."""
    from edgedet.data.synth.dataset import make_synthetic

    _announce("data", "synth", "--out", data, "--images", images, "--seed", seed)
    with show_progress("data synth") as progress:
        make_synthetic(data, images=images, seed=seed, progress=progress)


def _quantize(checkpoint: Path, data: Path, out: Path) -> QuantizeReport:
    """Make the int8 file and print the report."""
    from edgedet.data.paths import DataPaths
    from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint

    _announce("quantize", checkpoint, "--data", data, "--out", out, "--calib-images", CALIB_IMAGES)
    with show_progress("calibrate") as progress:
        request = QuantizeRequest(checkpoint, DataPaths(data), out, calib_images=CALIB_IMAGES)
        report = quantize_checkpoint(request, progress)
    print(report.text(), end="")
    return report


def _measure(model: Path, runtime: Runtime, split: CocoSplit, data: Path) -> EvalReport:
    """Evaluate one form of the network and print the report."""
    from edgedet.evaluate.evaluator import evaluate

    _announce("evaluate", model, "--data", data)
    with show_progress("evaluate") as progress:
        report = evaluate(runtime, split, progress=progress, model_path=model)
    print(report.text(), end="")
    return report


def _announce(*arguments: object) -> None:
    """Print the command line that does what follows."""
    print(f"\n$ edgedet {shlex.join(str(argument) for argument in arguments)}", flush=True)


def _relative(path: Path) -> Path:
    """Shorter to read and to type when the file lies below the working folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
