"""What a user should know of a finished QAT run, besides its APs."""

from __future__ import annotations

from edgedet.evaluate.figures.reading import finds_nothing

_NO_GAIN = (
    "training did not raise the AP above that of its start, plain PTQ: take more epochs or images, another `lr`, or "
    "PTQ with `effort` best"
)


def qat_notes(aps: tuple[float, float, float], left_out: float) -> tuple[str, ...]:
    """Lines of a report.

    Args:
        aps: float, at the start, after training.
        left_out: share of the teacher's boxes without area, in the worst epoch.
    """
    _, ap_start, ap_qat = aps
    nothing = finds_nothing(ap_qat)
    notes = () if nothing is None else (nothing.text(),)
    if ap_qat < ap_start:
        notes = (*notes, _NO_GAIN)
    if not left_out:
        return notes
    return (
        *notes,
        f"{left_out:.2%} of the boxes of the float model, which was the teacher, had right in front of left or bottom "
        "above top and taught nothing (worst epoch); it is not trained to its end",
    )
