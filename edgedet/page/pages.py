"""The page of one run, and the page that compares several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedet.drawing.curves import Line, line_chart
from edgedet.errors import ConfigError
from edgedet.evaluate.figures.reading import Sentence
from edgedet.evaluate.figures.training_curves import read_training
from edgedet.fileio import atomic_write_text, write_text
from edgedet.outputs.page_files import PAGE, is_strange_page
from edgedet.page import sections
from edgedet.page.blocks import Page, Picture, Section, Table, number, words
from edgedet.page.deployments import Deployment, deployments_section, is_deployment, read_deployment
from edgedet.page.found import Found
from edgedet.page.judge import Judged, judge
from edgedet.page.record import PLANNED, SETTLED
from edgedet.page.render import render
from edgedet.page.run_files import Epoch, RunFiles, read_run
from edgedet.texts import counted


def write_page(folder: Path) -> Page:
    """Make report.html of a run folder from what it holds.

    Args:
        folder: of the run.
    Returns:
        What it says.
    Raises:
        ConfigError: it is no run, or report.html there is another page than edgedet's.
        ToolchainError: Jinja2 is missing.
    """
    path = folder / PAGE
    refuse_strange_page(path)
    page = run_page(read_run(folder))
    atomic_write_text(path, render(page))
    return page


def write_fresh_page(folder: Path, fresh: Path) -> Page:
    """As `write_page`, of a run whose newest files are in `fresh`, where the page goes, too."""
    refuse_strange_page(folder / PAGE)
    page = run_page(read_run(folder, fresh))
    write_text(fresh / PAGE, render(page))
    return page


def refuse_strange_page(path: Path) -> None:
    """Raises ConfigError when there is a file that edgedet did not write, and that would be replaced."""
    if is_strange_page(path):
        raise ConfigError(f"{path}: is not a page of edgedet, and would be replaced; give it another name")


def write_comparison(folders: Sequence[Path], out: Path) -> Page:
    """Make one page of several runs and deployments.

    Args:
        folders: of the runs and deployments, at least two.
        out: file.
    Returns:
        What it says.
    Raises:
        ConfigError: one of them is neither.
        DataError: a manifest is damaged.
    """
    deployed = [folder for folder in folders if is_deployment(folder)]
    runs = [read_run(folder) for folder in folders if folder not in deployed]
    page = comparison(runs, [read_deployment(folder) for folder in deployed])
    atomic_write_text(out, render(page))
    return page


def run_page(run: RunFiles) -> Page:
    """Everything that the page of one run says."""
    judged, notes = judge_both(run), list(run.notes)
    parts: list[Section] = []
    if run.evaluation:
        same = bool(judged) and list(judged[-1][1].ap.stats) == list(run.evaluation["ap"]["stats"])
        parts.append(sections.evaluation(run.evaluation, brief=same))
    if run.substitution:
        parts.append(sections.substitution(run.substitution))
    if run.history:
        parts.append(sections.training(run.history, tuple(sentence.text() for sentence in _reading(run))))
    if judged:
        parts += [sections.accuracy(judged), sections.curves(judged)]
        pictures, absent = sections.worst(judged)
        parts.append(pictures)
        notes += absent
    if "waterfall" in run.results:
        parts.append(sections.waterfall(run.results["waterfall"]))
    elif run.results:
        notes.append("No waterfall: it is measured by `edgedet quantize --waterfall`.")
    if run.layers:
        parts.append(sections.layers(run.layers))
    if run.results:
        parts.append(sections.int8_file(run.results))
    if run.results.get("operating_point"):
        parts.append(sections.thresholds(run.results["operating_point"]))
    if run.record is not None and (run.record.labels or run.augmented):
        shown = tuple(Picture(path.read_bytes(), "") for path in run.augmented)
        parts.append(sections.labels(run.record, [replace(p, caption=f"sample {n}") for n, p in enumerate(shown, 1)]))
    parts += sections.run_facts(run)
    return Page(f"{run.kind}: {run.folder.name}", verdict(run, judged), _facts(run, judged), tuple(parts), tuple(notes))


def _reading(run: RunFiles) -> tuple[Sentence, ...]:
    """What the curves of a training say, once it has ended."""
    settings = dict(run.record.settings) if run.record is not None else {}
    if _goes_on(run):
        return ()
    return read_training(run.history, settings.get(SETTLED) == "yes", run.kind != "quantize")


def judge_both(run: RunFiles, most: int | None = None) -> tuple[tuple[str, Judged], ...]:
    """Float and int8, as far as they were measured, on the same images; `most`: only the first so many."""
    found = [(name, one) for name, one in (("float", run.found_float), ("int8", run.found_int8)) if one is not None]
    images = min([len(one.split.images) for _, one in found] + ([most] if most else []), default=0)
    return tuple((name, judge(_at_its_own(name, one.first(images), run.results))) for name, one in found)


def _at_its_own(name: str, found: Found, results: dict[str, Any]) -> Found:
    """Float at the thresholds that were fitted for it, where int8 has those fitted for int8.

    Its own contract still has the old ones, and the difference between the two would look like int8's work.
    """
    fitted = results.get("operating_point")
    if name != "float" or not fitted or not fitted["float"]:
        return found
    known = dict(zip(fitted["class_names"], fitted["float"], strict=True))
    names = zip(found.split.class_names, found.thresholds, strict=True)
    return replace(found, thresholds=tuple(known.get(one, before) for one, before in names))


def verdict(run: RunFiles, judged: Sequence[tuple[str, Judged]]) -> str:
    """One sentence."""
    if run.evaluation:
        one = run.evaluation
        ap = one["ap"]["stats"][0]
        of = f"{Path(one['model']).name or 'the detections'} on {one['images']} images of {one['split']}"
        return f"AP {ap:.3f}, AP50 {one['ap']['stats'][1]:.3f}: {of}." if ap >= 0 else f"AP can't be measured: {of}."
    if len(judged) == 2:
        before, after = judged[0][1].ap.ap, judged[1][1].ap.ap
        if min(before, after) < 0:
            return f"AP can't be measured on {judged[1][1].found.where}: they hold no objects."
        kept = f"int8 gives AP {after:.3f}, float AP {before:.3f}, on {judged[1][1].found.where}"
        change = after - before
        lost = "int8 loses nothing" if change >= -0.0005 else f"int8 loses {-change:.3f}"
        return f"{kept}: {lost}."
    if run.substitution and not _goes_on(run):
        return _substitution_verdict(run.substitution)
    measured = [e for e in run.history if e.ap is not None and e.ap >= 0]
    if measured:
        return _training_verdict(run, measured)
    if judged and judged[0][1].ap.ap >= 0:
        return f"{judged[0][0]} gives AP {judged[0][1].ap.ap:.3f} on {judged[0][1].found.where}."
    if run.layers:
        first = max(run.layers, key=lambda layer: layer["sensitivity"])
        return f"Of {len(run.layers)} layers, {first['name']} changes the outputs most when it becomes int8."
    if run.results:
        return "The int8 file is made; its AP was not measured here."
    if run.history:
        return f"Training, epoch {_epochs(run)}; AP is not measured yet."
    return "Nothing is measured here yet."


def _substitution_verdict(content: dict[str, Any]) -> str:
    before, after = content["ap_before"], content["ap_tuned"]
    if min(before, after) < 0:
        return f"Now {content['activation']}; AP can't be measured, the validation images hold no objects."
    change = after - before
    cost = "the substitution costs nothing" if change >= -0.0005 else f"the substitution costs {-change:.3f}"
    return f"Float AP {after:.3f} with {content['activation']}, {before:.3f} before: {cost}."


def _training_verdict(run: RunFiles, measured: Sequence[Epoch]) -> str:
    best = max(measured, key=lambda e: e.ap or 0.0)
    if _goes_on(run):
        return (
            f"Training, epoch {_epochs(run)}: AP {best.ap:.3f} on the validation images so far, at epoch {best.epoch}."
        )
    says = f"AP {best.ap:.3f} on the validation images, at epoch {best.epoch} of {run.history[-1].epoch}."
    return " ".join([says, *(f"{sentence.says}." for sentence in _reading(run)[:1])])


def _planned(run: RunFiles) -> int:
    """Epochs of the whole run; 0: not recorded."""
    settings = dict(run.record.settings) if run.record is not None else {}
    planned = settings.get(PLANNED, settings.get("epochs", ""))
    return int(planned) if planned.isdecimal() else 0


def _goes_on(run: RunFiles) -> bool:
    """True for a training that has not ended, or was interrupted."""
    return bool(run.history) and run.history[-1].epoch < _planned(run)


def _epochs(run: RunFiles) -> str:
    """How far a training is: 5 of 40."""
    return f"{run.history[-1].epoch} of {_planned(run)}" if _planned(run) else str(run.history[-1].epoch)


def _facts(run: RunFiles, judged: Sequence[tuple[str, Judged]]) -> tuple[tuple[str, str], ...]:
    facts = []
    for name, one in judged:
        facts += [(f"AP {name}", f"{one.ap.ap:.3f}"), (f"AP50 {name}", f"{one.ap.ap50:.3f}")]
    if judged:
        facts.append((f"F1 {judged[-1][0]}", f"{judged[-1][1].operation.now[-1].f1:.3f}"))
    if run.history:
        facts.append(("epochs", _epochs(run) if _goes_on(run) else str(run.history[-1].epoch)))
    if "model_bytes" in run.results:
        facts.append(("int8 file, bytes", f"{run.results['model_bytes']:,}"))
    return tuple(facts)


def comparison(runs: Sequence[RunFiles], deployments: Sequence[Deployment] = ()) -> Page:
    """Several runs and deployments beside each other."""
    both = _names([*(run.folder for run in runs), *(one.folder for one in deployments)])
    names, deployed = both[: len(runs)], both[len(runs) :]
    judged = [judge_both(run, _common_images(runs)) for run in runs]
    rows = []
    for name, run, one in zip(names, runs, judged, strict=True):
        last = one[-1][1] if one else None
        stats = [number(last.ap.stats[place] if last else None) for place in range(6)]
        best = max((e.ap for e in run.history if e.ap is not None), default=None)
        f1 = number(last.operation.now[-1].f1 if last else None)
        rows.append(
            (words(name), words(run.kind), words(one[-1][0] if one else "–"), *stats, f1, number(best),
             number(len(run.history) or None, 0), number(run.results.get("model_bytes"), 0),
             number(len(last.found.split.images) if last else None, 0))
        )  # fmt: skip
    head = ("run", "made by", "form", "AP", "AP50", "AP75", "small", "medium", "large", "F1", "best AP of training",
            "epochs", "bytes", "images")  # fmt: skip
    parts = [Section("Runs", tables=(Table(head, tuple(rows)),) if rows else ())]
    parts += [*_curves(names, runs), *_classes(names, judged)]
    if deployments:
        parts.append(deployments_section(deployed, deployments))
    parts.append(Section("What differs", tables=_differences(names, runs)))
    scored = [(one[-1][1].ap.ap, name) for name, one in zip(names, judged, strict=True) if one]
    best_run = max(scored, default=None)
    says = (
        f"{best_run[1]} has the highest AP, {best_run[0]:.3f}."
        if best_run
        else "None of these runs has its AP measured."
    )
    if not runs:
        says = _least_memory(deployed, deployments)
    if len(scored) > 1 and _common_images(runs) is None:
        says += " Mind that they were measured on different pictures."
    notes = [f"{name}: {note}" for name, run in zip(names, runs, strict=True) for note in run.notes]
    kinds = [counted(len(some), kind) for some, kind in ((runs, "run"), (deployments, "deployment")) if some]
    title = f"{' and '.join(kinds)}: {', '.join(both)}"
    return Page(title, says, (), tuple(p for p in parts if p.tables or p.charts), tuple(notes))


def _common_images(runs: Sequence[RunFiles]) -> int | None:
    """How many first images all runs were measured on; None: they were measured on different ones."""
    found = [one for run in runs for one in (run.found_float, run.found_int8) if one is not None]
    count = min((len(one.split.images) for one in found), default=0)
    first = {tuple(os.path.realpath(record.path) for record in one.split.images[:count]) for one in found}
    return count if count and len(first) == 1 else None


def _names(folders: Sequence[Path]) -> list[str]:
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _least_memory(names: Sequence[str], deployments: Sequence[Deployment]) -> str:
    known = [(one.arena_bytes, name) for name, one in zip(names, deployments, strict=True) if one.arena_bytes]
    return f"{min(known)[1]} needs the smallest arena, {min(known)[0]:,} bytes." if known else "Deployments."


def _curves(names: Sequence[str], runs: Sequence[RunFiles]) -> list[Section]:
    trained = [(name, run.history) for name, run in zip(names, runs, strict=True) if run.history]
    if not trained:
        return []
    losses = [Line(name, tuple((e.epoch, e.loss) for e in history)) for name, history in trained]
    aps = [Line(name, tuple((e.epoch, e.ap) for e in history if e.ap is not None)) for name, history in trained]
    charts = [line_chart("Loss", losses, "epoch")]
    if any(len(line.points) > 1 for line in aps):
        charts.append(line_chart("AP on the validation images", aps, "epoch"))
    return [Section("Training", charts=tuple(charts))]


def _classes(names: Sequence[str], judged: Sequence[Sequence[tuple[str, Judged]]]) -> list[Section]:
    columns = [
        (name, {row.name: row.ap for row in one[-1][1].ap.per_class})
        for name, one in zip(names, judged, strict=True)
        if one
    ]
    known = list(dict.fromkeys(cls for _, values in columns for cls in values))
    if not known:
        return []
    rows = tuple((words(cls), *(number(values.get(cls)) for _, values in columns)) for cls in known)
    return [Section("AP of each class", tables=(Table(("class", *(name for name, _ in columns)), rows),))]


def _differences(names: Sequence[str], runs: Sequence[RunFiles]) -> tuple[Table, ...]:
    """What was asked for and what the trainings used, where it is not the same; the folders are the columns."""
    settings = [dict((*run.record.settings, *run.record.effective)) if run.record else {} for run in runs]
    kinds = [run.kind for run in runs]

    def differs(key: str) -> bool:
        """Between runs of one kind absence counts; another kind of run may not know the key at all."""
        if len({one[key] for one in settings if key in one}) > 1:
            return True
        return len({(kind, key in one) for kind, one in zip(kinds, settings, strict=True)}) > len(set(kinds))

    keys = dict.fromkeys(key for one in settings for key in one if key != "out")
    rows = tuple((words(key), *(words(one.get(key, "–")) for one in settings)) for key in keys if differs(key))
    return (Table(("setting", *names), rows),) if rows else ()
