"""The command `edgedet`: each sub-command parses, calls one function of the package, prints, returns a code.

Torch, OpenCV and the interpreters are imported inside the handlers, so that `--help` is quick and a device host needs
the base installation only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet import __version__
from edgedet.errors import DataError, EdgedetError, missing_extra
from edgedet.evaluate.arguments import (
    RUNTIME_HELP,
    RUNTIMES,
    add_annotation_arguments,
    add_data_arguments,
    add_evaluate_arguments,
    choose_runtime,
    data_paths,
    image_size,
    positive_int,
    run_evaluate,
    threshold,
    whole_number,
)

if TYPE_CHECKING:
    from edgedet.evaluate.runtimes import Runtime

# Import name -> extra that brings it.
EXTRAS = {
    "torch": "train",
    "cv2": "train",
    "tensorboard": "train",
    "rich": "train",
    "ai_edge_litert": "runtime",
    "tflite_micro": "tflm",
    "jinja2": "tflm",
    "onnx": "onnx",
    "onnx2tf": "onnx",
    "tensorflow": "onnx",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None takes the process's.
    Returns:
        Exit code: 0; 2 after an error that the user can act on; 130 after Ctrl-C.
    """
    args = build_parser().parse_args(argv)
    try:
        return args.handler(args)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        return _fail(missing_extra(package, EXTRAS[package]))
    except (EdgedetError, OSError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _fail(error: Exception) -> int:
    """One line on stderr, whatever a message holds."""
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return 2


def build_parser() -> argparse.ArgumentParser:
    """All sub-commands with their options; `handler` of the parsed namespace runs one."""
    parser = argparse.ArgumentParser(
        prog="edgedet",
        description="An object detector from COCO images to int8 code on a microcontroller, nothing lost on the way.",
        epilog="The usual way: data check, train, quantize, evaluate, deploy. `edgedet COMMAND --help` shows examples.",
    )
    parser.add_argument("--version", action="version", version=f"edgedet {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_add_data, _add_train, _add_quantize, _add_convert, _add_evaluate, _add_predict, _add_deploy):
        add(commands)
    return parser


def open_model(path: Path, runtime: str | None) -> Runtime:
    """Open a `.tflite` or a checkpoint.

    Args:
        path: model file; its suffix decides.
        runtime: as `--runtime`; None takes the default of the kind of file.
    Returns:
        The runtime.
    Raises:
        EdgedetError: the file can't be run, or not by this runtime.
    """
    name = choose_runtime(path, runtime)
    if name == "torch":
        from edgedet.train.runtime import TorchRuntime

        return TorchRuntime.from_checkpoint(path)
    from edgedet.evaluate.runtimes import open_runtime

    return open_runtime(path, name)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    examples: Sequence[str],
    handler: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  edgedet {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    return parser


def _add_train(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "train",
        "train a detector on COCO images",
        (
            "train rtmdet_nano_ncadc_relu6 --data bccd --imgsz 192 --epochs 100 --batch 32 --out runs/bccd",
            "train rtmdet_pico_relu6 --data bccd --imgsz 192x160 --out runs/pico --set lr=0.002 mosaic=0.5",
            "train rtmdet_nano_relu --train-ann a.json --train-images a --val-ann b.json --val-images b --out runs/ab",
            "train rtmdet_nano_ncadc_relu6 --data bccd --imgsz 192 --epochs 100 --batch 32 --out runs/bccd --resume",
        ),
        _train,
    )
    parser.add_argument("model", metavar="MODEL", help="name of a shipped model, or path of a .toml")
    add_data_arguments(parser)
    parser.add_argument("--imgsz", type=image_size, metavar="N|WxH", help="input size, px (default: the model's)")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="default: the model's")
    parser.add_argument("--batch", type=positive_int, metavar="N", help="images per step (default: the model's)")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the model file, for example train.lr=0.002; unknown keys are errors",
    )
    parser.add_argument("--resume", action="store_true", help="go on from RUN/last.pt")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")


def _train(args: argparse.Namespace) -> int:
    from edgedet.train.loop import TrainRequest, train

    result = train(
        TrainRequest(
            model=args.model,
            data=data_paths(args),
            out=args.out,
            imgsz=args.imgsz,
            epochs=args.epochs,
            batch=args.batch,
            overrides=tuple(args.overrides),
            resume=args.resume,
            seed=args.seed,
        )
    )
    print(f"best AP {result.best_ap:.3f}: {result.best}")
    print(f"last AP {result.last_ap:.3f}: {result.last}")
    return 0


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "evaluate",
        "measure the COCO AP of an int8 .tflite or a checkpoint",
        (
            "evaluate runs/q/model_int8.tflite --data bccd",
            "evaluate runs/q/model_int8.tflite --data bccd --runtime tflm --images 20 --json report.json",
            "evaluate runs/bccd/best.pt --data bccd",
            "evaluate runs/q/model_int8.tflite --val-ann b.json --val-images b",
        ),
        _evaluate,
    )
    add_evaluate_arguments(parser)


def _evaluate(args: argparse.Namespace) -> int:
    print(run_evaluate(args, open_model(args.model, args.runtime)).text(), end="")
    return 0


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "predict",
        "draw the boxes that a model finds in images",
        (
            "predict runs/q/model_int8.tflite photo.jpg --out pictures",
            "predict runs/bccd/best.pt bccd/valid/*.jpg --out pictures --score-threshold 0.4",
        ),
        _predict,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite, or a checkpoint (.pt)")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of pictures and detections.json")
    parser.add_argument("--runtime", choices=RUNTIMES, help=RUNTIME_HELP)
    parser.add_argument("--score-threshold", type=threshold, metavar="T", help="default: the model's")


def _predict(args: argparse.Namespace) -> int:
    from edgedet.evaluate.predict import predict
    from edgedet.evaluate.progress import show_progress

    runtime = open_model(args.model, args.runtime)
    with show_progress("predict") as progress:
        predictions = predict(runtime, args.images, args.out, args.score_threshold, progress)
    for prediction in predictions:
        print(f"{prediction.image}: {len(prediction.detections)} objects -> {prediction.picture}")
    print(f"{args.out / 'detections.json'}: all detections ({runtime.name}: {runtime.arithmetic})")
    return 0


def _add_quantize(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "quantize",
        "make an int8 .tflite from a checkpoint",
        (
            "quantize runs/bccd/best.pt --data bccd --out runs/q",
            "quantize runs/bccd/best.pt --data bccd --out runs/q --calib-images 205 --seed 7",
            "quantize runs/ab/best.pt --train-ann a.json --train-images a --out runs/q",
        ),
        _quantize,
    )
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint (.pt) of edgedet train")
    add_data_arguments(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="RUN", help="folder of model_int8.tflite and reports"
    )
    parser.add_argument(
        "--method", default="ptq", metavar="M", help="ptq: min-max calibration, per-channel weights (default: ptq)"
    )
    parser.add_argument(
        "--calib-images",
        type=positive_int,
        default=128,
        metavar="N",
        help="training images to calibrate on, drawn with the seed (default: %(default)s)",
    )
    parser.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")


def _quantize(args: argparse.Namespace) -> int:
    from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint

    report = quantize_checkpoint(
        QuantizeRequest(
            checkpoint=args.checkpoint,
            data=data_paths(args),
            out=args.out,
            method=args.method,
            calib_images=args.calib_images,
            seed=args.seed,
        )
    )
    print(report.text(), end="")
    return 0


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "convert",
        "show what an int8 .tflite holds, and write it anew",
        ("convert model_int8.tflite", "convert model_int8.tflite --out rewritten.tflite"),
        _convert,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite of any maker")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the graph to FILE")


def _convert(args: argparse.Namespace) -> int:
    from edgedet.convert.flatbuffer import read_tflite, write_tflite
    from edgedet.convert.summary import summarize

    graph = read_tflite(args.model)
    print(summarize(graph).to_text())
    if args.out is not None:
        write_tflite(graph, args.out)
        print(f"wrote {args.out}")
    return 0


def _add_deploy(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "deploy",
        "write the sources that run an int8 .tflite on a chip",
        ("deploy runs/q/model_int8.tflite --target tflm --out firmware",),
        _deploy,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite with edgedet's metadata")
    parser.add_argument("--target", choices=("tflm",), default="tflm", help="tflm: TFLite Micro, C++ (default)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")


def _deploy(args: argparse.Namespace) -> int:
    from edgedet.deploy.api import deploy

    report = deploy(args.model, args.target, args.out)
    operators = ", ".join(f"{use.kind} {use.count}" for use in report.operators)
    print(f"target:    {report.target}")
    print(f"model:     {report.model_bytes:,} bytes")
    print(f"operators: {operators}")
    print(
        f"arena:     {report.arena.total_bytes:,} bytes (measured {report.arena.measured_bytes:,} + margin "
        f"{report.arena.margin_bytes:,} for scratch)"
    )
    for path in report.files:
        print(f"wrote      {path}")
    return 0


def _add_data(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    data = commands.add_parser("data", help="check a data set, or draw a synthetic one", description="Data sets.")
    actions = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = _command(
        actions,
        "check",
        "check a data set and count its objects per class and size",
        ("data check bccd", "data check bccd --imgsz 192x160"),
        _data_check,
    )
    check.add_argument("data", type=Path, nargs="?", metavar="DIR", help="folder in Roboflow's or COCO's layout")
    add_annotation_arguments(check)
    check.add_argument(
        "--imgsz", type=image_size, default=(192, 192), metavar="N|WxH", help="input size of the network (default: 192)"
    )
    check.add_argument("--resize", choices=("letterbox", "stretch"), default="letterbox", help="default: %(default)s")
    synth = _command(
        actions,
        "synth",
        'draw the "mask / no_mask" data set',
        ("data synth --out synth --images 400 --seed 0",),
        _data_synth,
    )
    synth.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, in Roboflow's layout")
    synth.add_argument("--images", type=positive_int, default=400, metavar="N", help="default: %(default)s")
    synth.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")


def _data_check(args: argparse.Namespace) -> int:
    from edgedet.data.check import check_dataset
    from edgedet.evaluate.progress import show_progress
    from edgedet.structs import PreprocessSpec

    spec = PreprocessSpec(width=args.imgsz[0], height=args.imgsz[1], resize=args.resize)
    paths = data_paths(args)
    with show_progress("data check") as progress:
        report = check_dataset(
            paths.data,
            spec,
            train_ann=paths.train_ann,
            train_images=paths.train_images,
            val_ann=paths.val_ann,
            val_images=paths.val_images,
            progress=progress,
        )
    print(report.to_text(), end="")
    if not report.ok:
        return _fail(DataError(f"{sum(len(split.broken) for split in report.splits)} images do not decode, see above"))
    return 0


def _data_synth(args: argparse.Namespace) -> int:
    from edgedet.data.synth import make_synthetic
    from edgedet.evaluate.progress import show_progress

    with show_progress("data synth") as progress:
        folder = make_synthetic(args.out, images=args.images, seed=args.seed, progress=progress)
    print(f"{folder}: {args.images} images, seed {args.seed}")
    return 0
