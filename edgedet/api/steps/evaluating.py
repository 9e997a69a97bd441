"""Evaluation from Python: what is asked for, and what is written about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.dataset import Dataset, every_readable
from edgedet.api.opening import progress_bar
from edgedet.api.pages import evaluation_settings, finish_evaluate, tell
from edgedet.api.runs import refuse_other_run
from edgedet.data.check.whole import whole_splits
from edgedet.evaluate.arguments import show_warnings
from edgedet.evaluate.evaluator import EvalReport, evaluate
from edgedet.evaluate.figures.operating_point import Aim
from edgedet.typed import require_given, require_threshold, require_whole

if TYPE_CHECKING:
    from edgedet.api.model import Model


@dataclass(frozen=True)
class Evaluation:
    """What to measure; as the arguments of `Model.evaluate`."""

    split: str  # train | valid | test
    images: int | None
    score_threshold: float
    operating_point: str
    out: Path | None

    def __post_init__(self) -> None:
        require_whole(1, images=self.images)
        require_given(score_threshold=self.score_threshold)
        require_threshold(score_threshold=self.score_threshold)
        Aim.parse(self.operating_point)  # raises


def evaluate_model(model: Model, dataset: Dataset, asked: Evaluation) -> EvalReport:
    """Measure a model; as `Model.evaluate`.

    Args:
        model: checkpoint or int8 file.
        dataset: whose split is measured, without its broken images where it leaves them out.
        asked: what.
    """
    if asked.out is not None:
        refuse_other_run(asked.out, "evaluate")
    chosen = whole_splits((every_readable(dataset, asked.split),), dataset.paths.skip_broken, most=asked.images)[0]
    show_warnings(chosen)
    with progress_bar("evaluate", len(chosen.images[: asked.images])) as progress:
        report = evaluate(
            model.runtime,
            chosen,
            max_images=asked.images,
            score_threshold=asked.score_threshold,
            progress=progress,
            model_path=model.path,
            aim=Aim.parse(asked.operating_point),
        )
    if asked.out is not None:
        opened = (model.runtime_name, model.send, model.device)
        measured = (asked.images, asked.split, asked.operating_point, asked.score_threshold)
        said = evaluation_settings(dataset.paths, opened, model.nms, measured)
        tell(finish_evaluate(asked.out, model.path, model.runtime, chosen, report, said), quiet=True)
    return report
