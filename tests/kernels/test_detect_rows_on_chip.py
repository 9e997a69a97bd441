"""Constants as `edgedet deploy` writes them, decoded under sanitizers and on emulated Cortex-M."""

from __future__ import annotations

from pathlib import Path

import chip_run
import numpy as np
import pytest
from row_heads import HEADS, RowCase, row_case, spec_of

from edgedet.codegen.c_source import array_rows
from edgedet.codegen.decoders import row_texts
from edgedet.codegen.row_decoder import row_decoder
from edgedet.codegen.templates import template_environment
from edgedet.escape import c_float
from edgedet.numerics.decode import MAX_CANDIDATES

pytestmark = pytest.mark.toolchain

CASE = """
#include <string.h>

#include "edk_detect_rows.h"

{constants}
{outputs}
static const int8_t *const outputs[] = {{{names}}};
static const edk_detection expected[] = {{{expected}}};

int case_{number}(void);

int case_{number}(void)
{{
    static edk_detection found[{room}];
    static uint32_t scratch[{words}];
    int32_t count = 0;
    if (edk_detect_rows(&detect_params, outputs, scratch, sizeof scratch, {budget}, found, {room}, &count) != EDK_OK) {{
        return 1;
    }}
    return count != {count} || memcmp(found, expected, {count} * sizeof found[0]) != 0;
}}
"""


def c_text(number: int, case: RowCase) -> str:
    """A file with a function that returns 0 when the kernel finds what Python found."""
    shapes = [array.shape for array in case.outputs]
    rows = row_texts(row_decoder(case.spec, shapes, case.scales, case.zero_points, case.size))
    constants = template_environment("c99").get_template("run_rows.c.j2").render(rows=rows)
    found = case.numpy()
    detections = [
        f"{{{{{', '.join(map(c_float, box))}}}, {c_float(score)}, {label}}}"
        for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    ]
    assert len(detections) > 3
    return CASE.format(
        number=number,
        constants=constants,
        outputs="\n".join(
            f"static const int8_t output_{i}[] = {{\n{array_rows(array)}\n}};" for i, array in enumerate(case.outputs)
        ),
        names=", ".join(f"output_{i}" for i in range(len(case.outputs))),
        expected=", ".join(detections),
        count=len(detections),
        room=case.spec.max_detections,
        words=2 * MAX_CANDIDATES,
        budget=MAX_CANDIDATES,
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A program with every head; its exit status is the number of the first that differs, from 1."""
    folder = tmp_path_factory.mktemp("rows")
    cases = [
        row_case(name, seed, spec_of(name, 2 + seed % 2, score_threshold=(0.3, 0.02)[seed % 2]))
        for seed, name in enumerate(sorted(HEADS))
    ]
    files = []
    for number, case in enumerate(cases):
        files.append(folder / f"case_{number}.c")
        files[-1].write_text(c_text(number, case))
    declarations = "\n".join(f"int case_{number}(void);" for number in range(len(cases)))
    table = ", ".join(f"case_{number}" for number in range(len(cases)))
    loop = "for (int i = 0; i < (int)(sizeof cases / sizeof cases[0]); ++i) { if (cases[i]()) { return i + 1; } }"
    body = f"int (*const cases[])(void) = {{{table}}};\n{loop}\nreturn 0;"
    (folder / "main.c").write_text(f"{declarations}\nint main(void)\n{{\n{body}\n}}\n")
    kernels = chip_run.host_build.kernel_sources("edk_detect_rows.c", "edk_detect_scratch_bytes.c")
    return [folder / "main.c", *files, *kernels]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_rows_under_sanitizers_are_bit_exact(tmp_path: Path, compiler: str, sources: list[Path]) -> None:
    program = chip_run.build_host(tmp_path, compiler, chip_run.host_build.SANITIZERS, sources)
    assert program.execute(tmp_path) == 0


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m55"])
def test_rows_on_chip_are_bit_exact(tmp_path: Path, target: str, sources: list[Path]) -> None:
    program = chip_run.build_chip(tmp_path, target, ("-O2", "-ffp-contract=fast"), sources)
    assert program.execute(tmp_path) == 0


def test_constants_are_small(sources: list[Path]) -> None:
    """Equal tables are written once: a level of YOLOX needs those of its classes, objectness and exponentials."""
    case = row_case("yolox", 0)
    made = row_decoder(case.spec, [array.shape for array in case.outputs], case.scales, case.zero_points, case.size)
    assert len(made.tables) == 3 * 2
    same = row_decoder(case.spec, [array.shape for array in case.outputs], [0.05] * 6, [3] * 6, case.size)
    assert len(same.tables) == 2  # the sigmoid of both, and the exponential
    assert all(table.dtype == np.float32 for table in made.tables)
