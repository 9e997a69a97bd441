"""Where accuracy is lost, from Python: layer by layer, and form by form on the way to the chip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.dataset import Dataset, every_readable
from edgedet.data.check.whole import whole_splits
from edgedet.evaluate.arguments import show_warnings
from edgedet.progress import show_progress

if TYPE_CHECKING:
    from edgedet.diagnose.inspect import Inspection
    from edgedet.diagnose.waterfall import Waterfall


def inspect(model: Path, checkpoint: Path, dataset: Dataset, split: str, images: int, seed: int) -> Inspection:
    """Compare every layer; as `Model.inspect`, which checks the arguments."""
    from edgedet.diagnose.inspect import InspectRequest, inspect_model
    from edgedet.quantize.calibration.images import draw_whole

    chosen, _ = draw_whole(every_readable(dataset, split), images, seed, dataset.paths.skip_broken)
    with show_progress("inspect", "steps") as progress:
        return inspect_model(InspectRequest(model, checkpoint, chosen, images, seed=seed), progress)


def waterfall(
    model: Path, checkpoint: Path, dataset: Dataset, split: str, images: int | None, original: Path | None
) -> Waterfall:
    """Measure every form; as `Model.waterfall`, which checks the arguments."""
    from edgedet.diagnose.waterfall import WaterfallRequest, measure_waterfall

    chosen = whole_splits((every_readable(dataset, split),), dataset.paths.skip_broken, most=images)[0]
    show_warnings(chosen)
    with show_progress("waterfall") as progress:
        return measure_waterfall(WaterfallRequest(model, checkpoint, chosen, images, original), progress)
