"""Make docs/speed.md from pytest-benchmark's JSON.

for name in train quantize decode simulator data; do  # one process each: the peak of memory is the process's
    .venv/bin/python -m pytest -q bench/test_bench_$name.py --benchmark-json=/tmp/bench_$name.json
done
.venv/bin/python bench/speed_table.py /tmp/bench_*.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edgedet.evaluate.evaluator import describe_machine
from edgedet.fileio import atomic_write_text

ROOT = Path(__file__).resolve().parent.parent
# Benchmark -> the mark of the issue, in words.
MARKS = {
    "test_bench_fx_to_tflite": "under 1 s",
    "test_bench_ptq_128_images_whole_command[fast]": "under 30 s",
    "test_bench_ptq_128_images_whole_command[normal]": "under 60 s",
    "test_bench_ptq_128_images_whole_command[best]": "under 5 min",
    "test_bench_decode_192_three_classes[int8-dense-0.25]": "under 3 ms",
    "test_bench_decode_192_three_classes[int8-dense-0.001]": "under 20 ms",
    "test_invoke_nano_192": "under 100 ms",
    "test_train_epoch_192_batch_32[rtmdet_nano_ncadc_relu6]": "at least 40 images/s",
}


def render(contents: list[dict[str, Any]]) -> str:
    """Markdown of all benchmarks, by name."""
    commit = contents[0]["commit_info"]
    entries = [entry for content in contents for entry in content["benchmarks"]]
    lines = [
        "# Speed\n",
        f"Made by the commands at the top of `bench/speed_table.py` at commit {commit['id'][:7]}"
        f"{' + uncommitted changes' if commit['dirty'] else ''}, on {describe_machine()}. Each benchmark checks its "
        "output before it is timed. Training: one epoch of 6 steps, augmentation included, batch 32.\n",
        "| benchmark | median | min | mark | more |",
        "| --- | --- | --- | --- | --- |",
    ]
    for entry in sorted(entries, key=lambda e: e["fullname"]):
        more = ", ".join(f"{key} {value}" for key, value in sorted(entry["extra_info"].items()))
        times = [_duration(entry["stats"][key]) for key in ("median", "min")]
        lines.append(f"| `{entry['name']}` | {times[0]} | {times[1]} | {MARKS.get(entry['name'], '')} | {more} |")
    return "\n".join(lines) + "\n"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


if __name__ == "__main__":
    atomic_write_text(ROOT / "docs" / "speed.md", render([json.loads(Path(p).read_text()) for p in sys.argv[1:]]))
