"""`edgedet evaluate` and `edgedet predict`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgedet.api.opening import open_model
from edgedet.api.runs import run_name
from edgedet.commands.after_measuring import next_after_evaluate, next_after_predict
from edgedet.commands.frame.early import announce_large
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import (
    Commands,
    add_command,
    add_out_argument,
    announce_out,
    choose_out,
    show_out,
)
from edgedet.errors import ConfigError
from edgedet.evaluate.arguments import Evaluated, add_evaluate_arguments, add_send_argument, run_evaluate
from edgedet.options import (
    add_device_argument,
    add_nms_arguments,
    data_paths,
    nms_choice,
    positive_int,
    threshold,
    with_flags,
)
from edgedet.runtimes.names import RUNTIME_HELP, RUNTIMES
from edgedet.terminal import show, visible
from edgedet.texts import counted


def add_evaluate(commands: Commands) -> None:
    """Options of `edgedet evaluate`."""
    parser = add_command(
        commands,
        "evaluate",
        "measure the COCO AP of an int8 .tflite or a checkpoint",
        (
            "evaluate runs/q/model_int8.tflite --data bccd",
            "evaluate runs/q/model_int8.tflite --data bccd --runtime tflm --images 20 --json report.json",
            "evaluate runs/q/model_int8.tflite --data bccd --runtime serial:/dev/ttyACM0@921600 --send image",
            "evaluate runs/bccd/best.pt --data bccd --device cpu",
            "evaluate runs/q/model_int8.tflite --data bccd --split train --operating-point precision=0.9",
            "evaluate runs/q/model_int8.tflite --val-ann b.json --val-images b",
            "evaluate --detections results.json --data bccd",
            "evaluate runs/q/model_int8.tflite --data bccd --out runs/measured",
        ),
        _evaluate,
    )
    add_evaluate_arguments(parser)
    parser.add_argument(
        "--out", type=Path, metavar="RUN", help="of a model: folder of evaluate.json and report.html (default: none)"
    )
    add_json_argument(parser)
    add_device_argument(parser, note=", for a checkpoint")


def _evaluate(args: argparse.Namespace) -> int:
    if args.detections is not None and args.device is not None:
        raise ConfigError(f"--device {args.device} runs a checkpoint, but --detections holds results; leave one out")
    if args.out is not None:
        if args.model is None:
            raise ConfigError(f"--out {args.out}: the folder of a model's run, but --detections holds results")
        choose_out(args, "evaluate", run_name(args.model, "evaluate"))
    announce_large("evaluate", data_paths(args))
    done = run_evaluate(args, lambda path, runtime, nms, send: open_model(path, runtime, args.device, nms, send))
    show(with_flags(done.report.text(), args))
    give(args, done.report.to_json())
    if args.model is not None:
        next_after_evaluate(args, done)
    if args.out is not None:
        _leave_page(args, done)
    return 0


def _leave_page(args: argparse.Namespace, done: Evaluated) -> None:
    """evaluate.json and report.html."""
    from edgedet.api.pages import evaluation_settings, finish_evaluate
    from edgedet.evaluate.evaluator import COCO_SCORE_THRESHOLD

    assert done.runtime is not None  # --out belongs to a model
    least = COCO_SCORE_THRESHOLD if args.score_threshold is None else args.score_threshold
    measured = (args.images, args.split, args.operating_point or "f1", least)
    opened = (args.runtime, args.send, args.device)
    settings = evaluation_settings(data_paths(args), opened, nms_choice(args), measured)
    show(finish_evaluate(args.out, args.model, done.runtime, done.split, done.report, settings, args.command_line))
    show_out(args)


def add_predict(commands: Commands) -> None:
    """Options of `edgedet predict`."""
    parser = add_command(
        commands,
        "predict",
        "draw the boxes that a model finds in images",
        (
            "predict runs/q/model_int8.tflite photo.jpg --out pictures",
            "predict runs/bccd/best.pt bccd/valid --out pictures --score-threshold 0.4",
            "predict runs/q/model_int8.tflite 'photos/**/*.jpg' --out pictures",
            "predict runs/q/model_int8.tflite photos --runtime serial:/dev/ttyACM0@921600 --send image",
            "predict runs/q/model_int8.tflite street.mp4 --out pictures",
            "predict runs/q/model_int8.tflite 0 --frames 100 --out pictures",
            "predict runs/q/model_int8.tflite - --out pictures < list.txt",
        ),
        _predict,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite, or a checkpoint (.pt)")
    parser.add_argument(
        "images",
        nargs="+",
        metavar="SOURCE",
        help="image, folder (with its sub-folders), quoted pattern, video, number of a camera, or - for a list of "
        "paths on standard input, one a line",
    )
    add_out_argument(parser, "folder of pictures and detections.json", "MODEL_predict")
    parser.add_argument("--runtime", choices=RUNTIMES, metavar="RUNTIME", help=RUNTIME_HELP)
    add_send_argument(parser)
    parser.add_argument("--score-threshold", type=threshold, metavar="T", help="default: the model's")
    add_nms_arguments(parser)
    parser.add_argument(
        "--skip-broken",
        action="store_true",
        help="images that can't be read are no error; either way all others are done, and these are named",
    )
    parser.add_argument("--frames", type=positive_int, metavar="N", help="of a video or camera (default: all)")
    parser.add_argument(
        "--show",
        action=argparse.BooleanOptionalAction,
        help="a window with the frames of a video or camera, which q or Esc ends (default: of a camera, where there is "
        "a display)",
    )
    add_device_argument(parser, note=", for a checkpoint")
    add_json_argument(parser)


def _predict(args: argparse.Namespace) -> int:
    from edgedet.evaluate.video import is_video

    choose_out(args, "predict", run_name(args.model, "predict"))
    videos = [
        source for source in args.images if is_video(source) and not (source.isdecimal() and Path(source).exists())
    ]
    if args.frames is not None and not videos:
        raise ConfigError(f"--frames {args.frames}: only of a video or camera, found {', '.join(args.images)}")
    if args.show is not None and not videos:
        raise ConfigError(
            f"--{'' if args.show else 'no-'}show: only of a video or camera, found {', '.join(args.images)}"
        )
    if not videos:
        return _predict_pictures(args)
    if len(args.images) > 1:
        raise ConfigError(f"{videos[0]}: a video or camera goes by itself, found {len(args.images)} sources")
    return _predict_video(args, videos[0])


def _predict_pictures(args: argparse.Namespace) -> int:
    from edgedet.api.sources import find_files, videos_below
    from edgedet.evaluate.earlier import DETECTIONS_FILE
    from edgedet.evaluate.predict import predict
    from edgedet.progress import show_progress

    sources = [line for source in args.images for line in (_listed() if source == "-" else [source])]
    files = find_files(sources)
    announce_out(args, "predict")
    runtime = open_model(args.model, args.runtime, args.device, nms_choice(args), args.send)
    unreadable: list[str] = []
    alone = len(files) == 1 and not args.skip_broken  # what is wrong with it is then the error
    with show_progress("predict") as progress:
        predictions = predict(
            runtime,
            files,
            args.out,
            args.score_threshold,
            progress,
            on_unreadable=None if alone else lambda path, error: unreadable.append(str(error)),
        )
    for prediction in predictions:
        show(f"{prediction.image}: {counted(len(prediction.detections), 'object')} -> {prediction.picture}")
    show(f"{args.out / DETECTIONS_FILE}: all detections ({runtime.name}: {runtime.arithmetic})")
    if not any(len(prediction.detections) for prediction in predictions):
        show(_nothing_found(counted(len(predictions), "image")))
    videos = [video for source in sources if Path(source).is_dir() for video in videos_below(Path(source))]
    if videos:
        show(f"note: videos in the folders were passed over: {len(videos)}, first {videos[0]}; a video goes by itself")
    give(args, (args.out / DETECTIONS_FILE).read_text(encoding="utf-8"))
    next_after_predict(args, runtime, any(len(prediction.detections) for prediction in predictions))
    show_out(args)
    if not unreadable:
        return 0
    kind = "note" if args.skip_broken else "error"
    sys.stderr.write(f"{kind}: {len(unreadable)} of {len(files)} images can't be read; the others are done:\n")
    sys.stderr.writelines(f"  {visible(reason)}\n" for reason in unreadable)
    return 0 if args.skip_broken else 2


def _predict_video(args: argparse.Namespace, source: str) -> int:
    from edgedet.evaluate.video import predict_video
    from edgedet.progress import show_progress

    announce_out(args, "predict")
    window = _opens_window(args, source)
    runtime = open_model(args.model, args.runtime, args.device, nms_choice(args), args.send)
    if source.isdecimal() and args.frames is None:
        show(f"{'q or Esc in the window, or ' if window else ''}Ctrl-C ends the recording")
    with show_progress("predict", "frames") as progress:
        report = predict_video(runtime, source, args.out, args.score_threshold, args.frames, progress, window)
    seen = f"{counted(report.frames, 'frame')}, {counted(report.objects, 'object')}"
    show(f"{report.video}: {seen}, median {report.median_ms:.1f} ms a frame")
    if report.missing_frames:
        stated = report.frames + report.missing_frames
        show(
            f"note: {source}: the file states {stated} frames, {report.frames} could be decoded; it is cut short "
            "or damaged, or states a wrong number"
        )
    if not report.objects:
        show(_nothing_found(counted(report.frames, "frame")))
    show(f"{report.detections}: all detections ({runtime.name}: {runtime.arithmetic})")
    give(args, report.detections.read_text(encoding="utf-8"))
    next_after_predict(args, runtime, bool(report.objects))
    show_out(args)
    return 0


def _opens_window(args: argparse.Namespace, source: str) -> bool:
    """Whether frames are shown. A window that nobody asked for is left out where none can be opened."""
    from edgedet.evaluate.window import window_problem

    if args.show is False or (args.show is None and not source.isdecimal()):
        return False
    problem = window_problem()
    if problem and args.show:
        raise ConfigError(f"--show: no window can be opened: {problem}; predict without one (--no-show)")
    if problem:
        show(f"note: no window can be opened ({problem}): the camera is recorded without one")
    return not problem


def _nothing_found(where: str) -> str:
    return (
        f"note: no object was found in {where}; a lower --score-threshold shows what scores less, "
        "`edgedet contract` what the model knows"
    )


def _listed() -> list[str]:
    """Paths on standard input, one a line."""
    lines = [line.rstrip("\r\n") for line in sys.stdin]
    lines[:1] = [line.removeprefix("\ufeff") for line in lines[:1]]  # the mark of a list that Windows saved
    found = [line for line in lines if line.strip()]
    if not found:
        raise ConfigError("-: standard input holds no paths; expected one a line")
    return found
