"""Training from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgedet.api.dataset import Data, as_dataset, size_of
from edgedet.api.load import load
from edgedet.api.model import Model
from edgedet.api.model_file import CHECKPOINT
from edgedet.api.public import public
from edgedet.api.runs import folder_of_run, run_name
from edgedet.errors import ConfigError, Interrupted
from edgedet.fileio import PathLike, as_path
from edgedet.typed import require_given, require_text, require_truth, require_whole, shown

if TYPE_CHECKING:
    from edgedet.training.loop import TrainRequest
    from edgedet.training.warm_start import WarmStart


@public
def train(
    model: str | Model,
    data: Data,
    out: PathLike | None = None,
    *,
    epochs: int | Literal["auto"] | None = None,
    imgsz: int | tuple[int, int] | None = None,
    batch: int | None = None,
    settings: Mapping[str, object] | None = None,
    seed: int = 0,
    resume: bool = False,
    quiet: bool = False,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    skip_broken: bool = False,
) -> Model:
    """Train a detector, or go on with an interrupted run.

    Args:
        model: name of a shipped network (`edgedet.models()` lists them), path of a .toml, or a model, or the path of a
            checkpoint (.pt), to start from.
        data: folder of a data set, or what `open_dataset` gave.
        out: folder of the run; None: runs/NAME-1 and so on.
        epochs: None: by the model file and the size of the data set; "auto": until AP no longer rises.
        imgsz: side, or (width, height), of the network's input, px, multiples of 32; None: the model's.
        batch: pictures a step; None: the model's.
        settings: keys of the model file, for example {"train.lr": 0.002, "channels": 1}; docs/settings.md has all, and
            an unknown one names the nearest.
        seed: of everything random.
        resume: go on with the run in `out`; with more `epochs`, extend it.
        quiet: show nothing on the way.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, float32, bfloat16 or float16.
        workers: processes that draw batches; None: as many as suit the device.
        skip_broken: leave out images that can't be decoded, and name them; else they are an error.
    Returns:
        The best checkpoint of the run; `model.report.best_ap`, and AP and losses of every epoch in
        `model.report.history`.
    Raises:
        ConfigError: unknown model, key or device, a wrong size, or `out` holds another run.
        DataError: the data set is wrong.
    """
    require_given(device=device, precision=precision, seed=seed)
    require_text(device=device, precision=precision)
    require_truth(resume=resume, quiet=quiet)
    require_whole(seed=seed)
    require_whole(1, batch=batch, epochs=None if epochs == "auto" else epochs)
    require_whole(workers=workers)
    if not isinstance(model, Model):
        as_path(model, "model")  # raises
    folder = None if out is None else as_path(out, "out")
    size = None if imgsz is None else size_of(imgsz)
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(f"`settings` {shown(settings)}: expected a dict, such as {{'lr': 0.002}}")
    paths = as_dataset(data, skip_broken).paths
    from edgedet.training.loop import TrainRequest

    start = _warm_start(model)
    if resume and out is None:
        raise ConfigError("`resume`: which run? give its folder as `out`")
    name = run_name(start.checkpoint) if start is not None else Path(str(model)).stem
    request = TrainRequest(
        model=None if start is not None else str(model),
        data=paths,
        out=Path(),
        imgsz=size,
        epochs=epochs,
        batch=batch,
        overrides=tuple(f"{key}={_value(value)}" for key, value in (settings or {}).items()),
        resume=resume,
        seed=seed,
        quiet=quiet,
        start=start,
        device=device,
        precision=precision,
        workers=workers,
    )
    with folder_of_run(folder, "train", name, resume) as run:
        return _run(replace(request, out=run))


def _run(request: TrainRequest) -> Model:
    """Train, make the page, and open the best checkpoint."""
    from edgedet.api.pages import draft_page, finish_train, tell
    from edgedet.training.loop import train
    from edgedet.training.parallel.processes import launched

    try:
        result = train(request, draft_page("train", request))
    except KeyboardInterrupt as error:
        raise Interrupted(f"train was stopped{_go_on(request.out)}") from error
    except ConfigError as error:  # the request's word for what is `settings` here
        raise ConfigError(str(error).replace("`overrides`", "`settings`")) from error
    if launched().first:
        tell(finish_train(request, result), request.quiet)
        for sentence in () if request.quiet else result.reading:
            tell(f"reading: {sentence.text()}")
    return Model(result.best, CHECKPOINT, device=request.device, report=replace(result, run=None))


def _go_on(out: Path) -> str:
    """What to say after Ctrl-C, when something was saved."""
    if not (out / "last.pt").is_file():
        return " before the end of an epoch: nothing was saved"
    return f"; the same call with out={str(out)!r}, resume=True goes on after the last epoch that was saved"


def _warm_start(model: str | Model) -> WarmStart | None:
    """The checkpoint to start from; None: the name of a network."""
    from edgedet.training.warm_start import WarmStart

    if isinstance(model, Model):
        if model.kind != CHECKPOINT:
            raise ConfigError(f"{model.path}: training goes on from a checkpoint, found {model.kind}")
        return WarmStart(model.path)
    return WarmStart(load(model).path) if Path(model).suffix.lower() in (".pt", ".pth") else None


def _value(value: object) -> str:
    """A setting as the command line writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
