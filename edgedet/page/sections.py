"""The sections of a run's page, each from the data that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgedet.drawing.charts import LayerPoint, layers_chart
from edgedet.drawing.curves import Line, changes_chart, histogram, line_chart
from edgedet.page.blocks import Cell, Picture, Section, Table, number, words
from edgedet.page.judge import Judged
from edgedet.page.pictures import worst_pictures
from edgedet.page.record import SIDE_EDGES_PX, RunRecord
from edgedet.page.run_files import Epoch, RunFiles
from edgedet.texts import counted

_CONFUSION = (
    "In the table: rows are what is there, columns what the model says at its score threshold. Coloured cells off the "
    "diagonal are confusions; the last column is what was missed, the last row false alarms."
)
_AUGMENTED = "Training pictures as the network sees them, augmented, with the boxes that are left."
_COLOURS = (
    "Left the ground truth: green is found, red is missed by the last model. Right of it what each model says: green "
    "is right, red a false alarm, orange an object of another class."
)
_ROWS = (
    "AP", "AP50", "AP75", "AP small", "AP medium", "AP large",
    "AR, 1 detection", "AR, 10", "AR, all", "AR small", "AR medium", "AR large",
)  # fmt: skip
_ERROR = "output error: squared error in parts of the outputs' variance; 0: as float, 100: only the mean is left"
_WORSE_THAN_MEAN = (
    "Note: an output error over 100 %: the mean alone would be nearer to the float outputs. The outputs of a "
    "network that was hardly trained hardly vary; else look for what is wrong with the pictures or the file."
)
_PICTURES = 8
_LAYERS = 400
_CLASSES = 20  # of a confusion matrix; more can't be read


def training(history: Sequence[Epoch], reading: tuple[str, ...] = ()) -> Section:
    """Loss and AP over the epochs, and what they say."""
    losses = [
        Line(name, tuple((e.epoch, getattr(e, key)) for e in history))
        for name, key in (("loss", "loss"), ("classes", "cls"), ("boxes", "box"))
    ]
    measured = tuple((e.epoch, e.ap) for e in history if e.ap is not None)
    charts = [line_chart("Loss on the training images", losses, "epoch")]
    if len(measured) > 1:
        charts.append(line_chart("AP on the validation images", [Line("AP", measured)], "epoch"))
    rows = tuple(
        (number(e.epoch, 0), number(e.loss), number(e.cls), number(e.box), number(e.ap)) for e in history[-200:]
    )
    return Section(
        "Training",
        reading,
        charts=tuple(charts),
        tables=(Table(("epoch", "loss", "classes", "boxes", "AP"), rows),) if len(history) <= 30 else (),
        beside=len(charts) == 1,
    )


def substitution(content: dict[str, Any]) -> Section:
    """What another activation cost and saved, from substitute.json."""
    before, after = content["cost_before"], content["cost_after"]
    attention = "with" if content["channel_attention"] else "without"
    rows = [
        (words("AP, float"), number(content["ap_before"], 4), number(content["ap_tuned"], 4)),
        (words("AP before fine-tuning"), number(None), number(content["ap_substituted"], 4)),
        (words("operators"), *(number(sum(one["operators"].values()), 0) for one in (before, after))),
    ]
    names = (("macs", "MACs"), ("peak_activation_bytes", "peak of activations, bytes"),
             ("arena_bytes", "arena of TFLite Micro, bytes"), ("model_bytes", "int8 file, bytes"))  # fmt: skip
    rows += [(words(name), number(before[key], 0), number(after[key], 0)) for key, name in names]
    kinds = sorted({*before["operators"], *after["operators"]})
    counts = tuple((words(k), *(number(one["operators"].get(k, 0), 0) for one in (before, after))) for k in kinds)
    epochs = counted(content["epochs"], "epoch")
    texts = (f"Now {content['activation']}, {attention} channel attention; {epochs} of fine-tuning.",)
    heads = ("", "before", "after"), ("operator", "before", "after")
    tables = (Table(heads[0], tuple(rows), "accuracy and what the int8 network needs"), Table(heads[1], counts))
    return Section("Substitution", texts, tables=tables)


def accuracy(judged: Sequence[tuple[str, Judged]]) -> Section:
    """AP table with its reading, per class and size."""
    names = [name for name, _ in judged]
    change = ("change",) if len(judged) == 2 else ()
    rows = []
    for place, name in enumerate(_ROWS):
        values = [one.ap.stats[place] for _, one in judged]
        cells = [number(value) for value in values]
        rows.append((words(name), *cells, *(_change(values) if change else ())))
    texts = [f"Measured on {judged[-1][1].found.where}."]
    texts += [f"{judged[-1][0]}: {sentence.text()}" for sentence in judged[-1][1].reading]
    table = Table(("", *names, *change), tuple(rows), "COCO AP and AR")
    return Section("Accuracy", tuple(texts), tables=(table, _per_class(judged), *(_operation(*one) for one in judged)))


def evaluation(content: dict[str, Any], brief: bool = False) -> Section:
    """What evaluate.json says: every image, where the rest of the page shows the first ones.

    Args:
        content: of the file.
        brief: the rest of the page says the same of AP, and is not anticipated.
    """
    rows = tuple((words(name), number(value)) for name, value in zip(_ROWS, content["ap"]["stats"], strict=True))
    texts = [
        f"Measured on {content['images']} images of {content['split']}: {content['runtime']}, {content['arithmetic']}.",
        *(f"{row['says']} ({row['evidence']}). Try: {row['try_this']}." for row in content["reading"] if not brief),
        *(f"Left out: {text}" for text in (*content["left_out"], *content["broken"])),
    ]
    times = content["timings"]
    speed = tuple((words(name.removesuffix("_ms")), number(value, 2)) for name, value in times.items())
    tables: tuple[Table, ...] = (Table(("", "all images"), rows, "COCO AP and AR"),)
    tables += (Table(("step", "ms per image"), speed),)
    device = content.get("device")
    if device:
        texts += _device_texts(device)
        tables += _device_times(device)
    return Section("Evaluation", tuple(texts), tables=tables[1:] if brief else tables)


def _device_texts(device: dict[str, Any]) -> list[str]:
    """What a board measured, of evaluate.json."""
    own = device["own_detections"]
    texts = [
        f"On the device at {device['port']}: target {device['target']} of edgedet {device['edgedet_version']}, "
        f"{device['sent']}s were sent."
    ]
    if own:
        texts.append(
            f"The device's own detections, at its threshold {own['score_threshold']:g}: AP {own['ap']:.3f}, AP50 "
            f"{own['ap50']:.3f}, {own['objects']} objects."
        )
    return texts


def _device_times(device: dict[str, Any]) -> tuple[Table, ...]:
    rows = list((device["device_ms"] or {}).items())
    rows += [("total, with the line", device["line_ms"])] if device["line_ms"] else []
    names = ("min", "median", "mean", "max")
    cells = tuple((words(step), *(number(spread[name], 3) for name in names)) for step, spread in rows)
    return (Table(("step", *names), cells, "ms per image, by the clock of the device"),) if cells else ()


def _change(values: Sequence[float]) -> tuple[Cell, ...]:
    if min(values) < 0:
        return (number(None),)
    change = round(values[1] - values[0], 3) + 0.0  # no -0.000
    return (Cell(f"{change:+.3f}", change),)


def _per_class(judged: Sequence[tuple[str, Judged]]) -> Table:
    last = judged[-1][1]
    objects = {point.name: point.objects for point in last.operation.now}
    head = ("class", "objects", *(f"{what} {name}" for name, _ in judged for what in ("AP", "AP50")))
    rows = []
    for place, row in enumerate(last.ap.per_class):
        cells = [
            cell
            for _, one in judged
            for cell in (number(one.ap.per_class[place].ap), number(one.ap.per_class[place].ap50))
        ]
        rows.append((words(row.name), number(objects.get(row.name, 0), 0), *cells))
    return Table(head, tuple(rows), "by class")


def _operation(name: str, judged: Judged) -> Table:
    head = ("class", "threshold", "precision", "recall", "F1", "95 % of F1 from", "to", "best threshold", "F1 there")
    rows = []
    for place, (now, best) in enumerate(zip(judged.operation.now, judged.operation.proposed, strict=True)):
        low, high = now.f1_interval or (None, None)
        there = (None, None) if best is None else (best.score_threshold, best.f1)
        one_for_all = place < len(judged.found.thresholds) or len(set(judged.found.thresholds)) == 1
        threshold = now.score_threshold if one_for_all else None
        cells = [number(v) for v in (threshold, now.precision, now.recall, now.f1, low, high, *there)]
        rows.append((words(now.name), *cells))
    return Table(head, tuple(rows), f"{name}, at the model's score thresholds, IoU 0.50")


def curves(judged: Sequence[tuple[str, Judged]]) -> Section:
    """Precision over recall, F1 over the threshold, confusions."""
    charts, tables = [], []
    for name, one in judged:
        shown = sorted(one.curves[:-1], key=lambda c: -len(c.recall))[:6] if len(one.curves) > 8 else one.curves[:-1]
        shown = (*shown, one.curves[-1]) if len(one.curves) > 2 else tuple(shown)
        lines = [Line(c.name, tuple(zip(c.recall, c.precision, strict=True))) for c in shown]
        charts.append(line_chart(f"Precision over recall, {name}", lines, "recall, IoU 0.50", (0, 1), (0, 1)))
        lines = [Line(c.name, tuple(zip(c.thresholds, c.f1, strict=True))) for c in shown]
        charts.append(line_chart(f"F1 over the score threshold, {name}", lines, "score threshold", (0, 1), (0, 1)))
        if len(one.found.split.class_names) <= _CLASSES:
            tables.append(_confusion(name, one))
    texts = (_CONFUSION,)
    return Section("Precision, recall, confusions", texts if tables else (), tuple(charts), tuple(tables))


def _confusion(name: str, judged: Judged) -> Table:
    names = judged.found.split.class_names
    table = judged.confusion
    rows = []
    for row, there in enumerate((*names, "nothing")):
        total = max(1, int(table[row].sum()))
        cells = []
        for column, value in enumerate(table[row].tolist()):
            both = row == column == len(names)
            cells.append(number(None) if both else Cell(str(value), value, max(0.02, value / total), row != column))
        rows.append((words(there), *cells))
    return Table(("there / said", *names, "missed"), tuple(rows), f"confusions, {name}, {_at(judged)}")


def _at(judged: Judged) -> str:
    """The score thresholds, in words."""
    low, high = min(judged.found.thresholds), max(judged.found.thresholds)
    return f"at score threshold {low:.3f}" if low == high else f"at score thresholds {low:.3f} to {high:.3f}"


def worst(judged: Sequence[tuple[str, Judged]]) -> tuple[Section, tuple[str, ...]]:
    """Worst pictures, and sentences about those that can't be shown."""
    pictures, absent = worst_pictures(judged, _PICTURES)
    shown = f"Most missed and most false, IoU 0.50: {', '.join(f'{name} {_at(one)}' for name, one in judged)}."
    texts = (shown, _COLOURS) if pictures else ("No errors.",)
    return Section("Worst pictures", texts, pictures=pictures, wide=True), absent


def labels(record: RunRecord, augmented: Sequence[Picture]) -> Section:
    """Objects of each class and size, and what training sees."""
    splits, tables, charts = record.labels, [], []
    if splits:
        names = [name for name, _ in splits[0].classes]
        counts = [dict(split.classes) for split in splits]
        rows = tuple((words(n), *(number(c.get(n, 0), 0) for c in counts)) for n in names)
        rows += ((words("images"), *(number(s.images, 0) for s in splits)),)
        rows += ((words("images without an object"), *(number(s.empty, 0) for s in splits)),)
        tables.append(Table(("objects", *(s.split for s in splits)), rows))
        groups = [(s.split, [100 * n / max(1, sum(s.sides)) for n in s.sides]) for s in splits]
        places = [f"{edge}" for edge in SIDE_EDGES_PX]
        charts.append(histogram("Objects by their shorter side at the input, %", places, groups, "px, from"))
    text = (_AUGMENTED,) if augmented else ()
    return Section("Labels", text, tuple(charts), tuple(tables), tuple(augmented), beside=True)


def waterfall(content: dict[str, Any]) -> Section:
    """AP of every form of the network, from report.json."""
    steps = content["steps"]
    chart = changes_chart("AP, step by step", [(s["label"], s["ap"], s["key"] == content["guilty"]) for s in steps])
    rows = tuple(
        (words(s["label"]), number(s["ap"], 4), number(s["ap50"], 4),
         Cell(f"{s['change']:+.4f}", s["change"]) if s["after"] else number(None), words(s["note"]))
        for s in steps
    )  # fmt: skip
    table = Table(("form", "AP", "AP50", "change", "note"), rows)
    guilty = next((s["label"] for s in steps if s["key"] == content["guilty"]), None)
    verdict = (
        f"The step that costs most: {guilty}." if guilty else (f"No step costs more than {content['guilty_drop']} AP.")
    )
    texts = (verdict, f"Measured on {content['images']} images of {content['split']}.")
    return Section("Waterfall", texts, (chart,), (table,))


def layers(rows: Sequence[dict[str, Any]]) -> Section:
    """Layers of inspect.json, the most sensitive first."""

    def db(value: float | None) -> float:
        return float("inf") if value is None else value

    points = [LayerPoint(r["name"], db(r["cumulative_db"]), db(r["alone_db"]), r["sensitivity"]) for r in rows]
    order = sorted(points, key=lambda p: -p.sensitivity)[:_LAYERS]
    table = Table(
        ("layer", "sensitivity", "alone, dB", "cumulative, dB"),
        tuple((words(p.name), number(p.sensitivity, 5), _db(p.alone_db), _db(p.cumulative_db)) for p in order),
        "sensitivity: how much rounding this layer alone changes the outputs",
    )
    return Section("Layers", charts=(layers_chart("Signal to quantization noise", points),), tables=(table,))


def _db(value: float) -> Cell:
    return Cell("exact", float("inf")) if value == float("inf") else number(value, 1)


def int8_file(results: dict[str, Any]) -> Section:
    """Operators, steps and notes of report.json."""
    tables, texts = [], [f"Note: {note}" for note in results.get("notes", ())]
    operators = results.get("operators")
    if operators:
        rows = tuple((words(kind), number(count, 0)) for kind, count in operators.items())
        tables.append(Table(("operator", "how often"), rows))
    steps = results.get("steps")
    if steps:
        if any(s["error"] > 1 for s in steps):
            texts.append(_WORSE_THAN_MEAN)
        step_rows = tuple(
            (words(s["name"]), number(100 * s["error"], 3), words("kept" if s["kept"] else "undone")) for s in steps
        )
        tables.append(Table(("step", "output error, %", ""), step_rows, _ERROR))
    forms = [(label, results[key]) for key, label in (
        ("ap_float", "float"), ("ap_start", "fake-quantized, before training"), ("ap_qat", "after training"),
        ("ap_file", "file")) if isinstance(results.get(key), float)]  # fmt: skip
    chart = (changes_chart("AP of quantization-aware training", [(n, v, False) for n, v in forms]),) if forms else ()
    return Section("The int8 file", tuple(texts), chart, tuple(tables))


def thresholds(content: dict[str, Any]) -> Section:
    """Score thresholds that were fitted after int8, from `operating_point` of report.json."""
    other = content["float"] or [None] * len(content["int8"])
    columns = zip(content["class_names"], content["before"], other, content["int8"], strict=True)
    rows = tuple(
        (
            words(name),
            *(number(value, 4) for value in (before, float_one, int8)),
            number(None) if float_one is None else Cell(f"{int8 - float_one:+.4f}", int8 - float_one),
            words("kept: nothing to find, or out of reach" if name in content["kept"] else ""),
        )
        for name, before, float_one, int8 in columns
    )
    table = Table(("class", "before", "float", "int8", "moved by int8", ""), rows)
    said = f"Fitted for {content['aim']} on {content['images']} images of {content['split']}, now in the contract."
    return Section("Score thresholds", (said, *content.get("verdicts", ())), tables=(table,))


def run_facts(run: RunFiles) -> tuple[Section, ...]:
    """Command, versions, hashes, seed; of an inspection, too."""
    facts = [_facts("What was run", run.record)] if run.record is not None else []
    if run.inspection is not None:
        facts.append(_facts("What was inspected", run.inspection))
    return tuple(facts) or (Section("What was run", (f"Folder: {run.folder}",)),)


def _facts(title: str, record: RunRecord) -> Section:
    tables = [
        Table(("setting", "value"), _pairs(record.settings)),
        Table(("key", "value"), _pairs(record.effective), "as it was trained"),
        Table(("package", "version"), _pairs(record.versions)),
        Table(("file", "bytes", "SHA-256"), tuple((words(n), number(b, 0), words(s)) for n, b, s in record.files)),
    ]
    ended = f"Ended {record.created} on {record.machine}."
    texts = (ended,) if record.command else ("Called from Python.", ended)
    shown = tuple(table for table in tables if table.rows)
    return Section(title, texts, tables=shown, command=record.command)


def _pairs(rows: Sequence[tuple[str, str]]) -> tuple[tuple[Cell, ...], ...]:
    return tuple((words(name), words(value)) for name, value in rows)
