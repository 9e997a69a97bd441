"""`deploy`: from an int8 `.tflite` to a folder of sources for the chip."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.codegen.memory.patch_search import PatchReport
from edgedet.codegen.memory.plan import Plan
from edgedet.codegen.module_name import ModuleName, module_name
from edgedet.deploy.earlier import check_replaceable
from edgedet.deploy.output_folder import MANIFEST, carried_settings, file_table, write_folder
from edgedet.deploy.page import deploy_page
from edgedet.deploy.preflight import board_of, board_with, options_for, require_fit
from edgedet.deploy.projects.layout import check_target, layout_of
from edgedet.deploy.projects.render import with_project
from edgedet.deploy.targets.c99 import deploy_c99
from edgedet.deploy.targets.ethos_u import deploy_ethos_u
from edgedet.deploy.targets.npu_report import NpuReport
from edgedet.deploy.targets.product import Product
from edgedet.deploy.targets.tflm import deploy_tflm
from edgedet.deploy.targets.web import deploy_web
from edgedet.errors import ConfigError, meant
from edgedet.graph.tflm_ops import OperatorUse
from edgedet.hardware.board import Board
from edgedet.hardware.check import BoardCheck
from edgedet.notebook import html_table, short_path
from edgedet.npu.cores import NPU_TARGETS, NpuOptions, NpuSetup, npu_setup
from edgedet.outputs.lock import hold_output
from edgedet.outputs.page_files import PAGE
from edgedet.runtimes.tflm_arena import ArenaReport
from edgedet.typed import require_whole

WEB = "web"
TARGETS = ("tflm", "c99", WEB, *NPU_TARGETS)
_WITHOUT_CONTRACT = {  # what is left, and what is missing
    "tflm": ("TFLite Micro's tensors", "contract.h"),
    "c99": ("edgedet_invoke()", "edgedet_run() from image to detections"),
}
# What proves that it works on the chip: the self-test compares every output byte with the golden ones.
_NEXT = {
    "tflm": "`cmake -S {out} -B build -DTFLM_ROOT=...` builds it and its self-test (docs/tflm.md)",
    "c99": "`make -C {out}` builds it and runs its self-test here: PASS or FAIL",
    "web": "open {out}/index.html in a browser; its self-test is its first line (docs/web.md)",
}
# What the command has not shown, whatever its exit code.
_NOT_RUN_HERE = "nothing was compiled or run here: the self-test compares with these on your machine and chip"
_NOT_RUN = {WEB: "compiled, but not run here: the self-test compares with these in the browser"}
_NEXT_NPU = (
    "`cmake -S {out} -B build -DCMAKE_TOOLCHAIN_FILE=cortex-m.cmake -DCPU=cortex-m55 "
    "-DTFLM_ROOT=...` builds it (docs/ethos_u.md)"
)


@dataclass(frozen=True)
class DeployReport:
    """What was written."""

    target: str
    out: Path
    files: tuple[Path, ...]  # every file in `out`, the manifest last
    model_bytes: int
    operators: tuple[OperatorUse, ...]
    arena_bytes: int
    arena: ArenaReport | None  # target tflm: how the arena was measured
    plan: Plan | None  # target c99: the planned arena
    patches: PatchReport | None  # target c99: the first steps run patch by patch, to fit a limit
    has_contract: bool  # with contract.h, and with target c99 edgedet_run()
    decoder: str  # target c99: what decodes the outputs in edgedet_run(); or why C decodes none; empty: no contracts
    golden_source: str  # where the golden input comes from
    unchecked: str  # target tflm: why the golden outputs are TFLite Micro's alone; empty: the simulator gives the same
    notes: tuple[str, ...] = ()  # what was changed in the file
    constant_bytes: int = 0  # in the flash, without code: target c99 weights and other constants, tflm the model
    project: str | None = None  # kind of the project around the module
    npu: NpuReport | None = None  # targets ethos-u...: what runs on the NPU, and Vela's estimates
    board: BoardCheck | None = None  # that it was checked against
    kept: tuple[str, ...] = ()  # sentences: what of an earlier deployment's folder was not replaced
    replaced: str = ""  # what of it was, where that is another model or name; empty: the same, or there was none

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict; everything about the target stands in its manifest, the last of the files."""
        return {
            "target": self.target,
            "out": str(self.out),
            "files": [str(path) for path in self.files],
            "model_bytes": self.model_bytes,
            "constant_bytes": self.constant_bytes,
            "arena_bytes": self.arena_bytes,
            "operators": {use.kind: use.count for use in self.operators},
            "has_contract": self.has_contract,
            "decoder": self.decoder,
            "golden_source": self.golden_source,
            "unchecked": self.unchecked,
            "notes": list(self.notes),
            "board": None if self.board is None else self.board.to_json(),
            "project": self.project,
            "kept": list(self.kept),
            "replaced": self.replaced or None,
            **({} if self.npu is None else {"npu": self.npu.to_json()}),
        }

    def __repr__(self) -> str:
        return f"<DeployReport {self.target}: {len(self.files)} files, arena {self.arena_bytes:,} bytes>"

    def _repr_html_(self) -> str:
        rows = [
            ("target", self.target if self.project is None else f"{self.target}, project {self.project}"),
            ("folder", f"{short_path(self.out)}, {len(self.files)} files"),
            ("model", f"{self.model_bytes:,} bytes"),
            ("flash", f"{self.constant_bytes:,} bytes of constants; code comes on top"),
            ("arena", f"{self.arena_bytes:,} bytes"),
            *([] if self.board is None else [("board", f"{self.board.board.file.title}: {self.board.verdict()}")]),
        ]
        return html_table(
            "Deployed",
            rows,
            notes=(*self.notes, *self.kept, *([f"replaced: {self.replaced}"] if self.replaced else [])),
        )

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Lines for a terminal, newline at the end."""
        lines = [
            f"target:    {self.target}",
            f"model:     {self.model_bytes:,} bytes",
            *(f"changed:   {note}" for note in self.notes),
            f"flash:     {self.constant_bytes:,} bytes of constants; code comes on top",
            "operators: " + ", ".join(f"{use.kind} {use.count}" for use in self.operators),
            *([] if self.npu is None else [*self.npu.lines(), f"arena:     {self.arena_bytes:,} bytes"]),
        ]
        lines += self.memory_lines()
        if not self.has_contract:
            rest, missing = _WITHOUT_CONTRACT["c99" if self.target == "c99" else "tflm"]
            reason = (
                f"C can't follow its contracts: {self.decoder}" if self.decoder else "the file carries no contracts"
            )
            lines.append(f"interface: {rest} only; {reason}, so there is no {missing} (see `edgedet contract`)")
        elif self.decoder:
            lines.append(f"decoder:   {self.decoder}, the same detections as in Python")
        lines.append(f"golden:    {self.golden_source}")
        lines.append(f"           {_NOT_RUN.get(self.target, _NOT_RUN_HERE)}")
        if self.unchecked:
            lines.append(
                f"           outputs by TFLite Micro alone, not cross-checked by the simulator: {self.unchecked}"
            )
        if self.board is not None:
            lines.append(f"board:     {self.board.board.file.title}: {self.board.verdict()}")
            lines.append(f"time:      {self.board.time.text()}")
            lines += [f"NPU:       {self.board.idle_npu}"] if self.board.idle_npu else []
        lines += [f"kept:      {line}" for line in self.kept]
        lines += [f"replaced:  {self.replaced}"] if self.replaced else []
        lines.append(f"wrote:     {len(self.files)} files in {self.out} ({MANIFEST} lists them)")
        lines.append(f"next:      {self.next_text(str(self.out))}")
        return "\n".join(lines) + "\n"

    def memory_lines(self) -> list[str]:
        """What `text` says of the arena."""
        lines = list[str]()
        if self.arena is not None:
            lines.append(
                f"arena:     {self.arena_bytes:,} bytes (measured {self.arena.measured_bytes:,} + margin "
                f"{self.arena.margin_bytes:,} for scratch)"
            )
        if self.plan is not None:
            lines.append(
                f"arena:     {self.arena_bytes:,} bytes, input, outputs and scratch included (no plan of these buffers "
                f"is below {self.plan.bound_bytes:,})"
            )
            lines.append(f"steps:     {len(self.plan.kinds)}, {len(self.plan.elided)} of them need no code")
            if self.patches is not None:
                lines.append(f"patches:   {self.patches.text()}")
        return lines

    @property
    def in_browser(self) -> bool:
        """Whether it is a page, not sources for a chip."""
        return self.target == WEB

    def next_text(self, out: str) -> str:
        """How it is built or opened, of the folder as it is called from where that is done."""
        if self.project is not None:
            readme = shlex.quote(str(Path(out) / "README.md"))
            return f"{readme} says how this {self.project} project is built, and where the camera goes"
        return self._next().format(out=shlex.quote(out))

    def _next(self) -> str:
        if self.npu is not None and self.npu.setup.preset is not None:
            return "{out} goes into the SDK of the board, or its model_vela.tflite alone (docs/grove.md)"
        return _NEXT.get(self.target, _NEXT_NPU)


def deploy(
    model: Path,
    target: str,
    out: Path,
    *,
    ram_bytes: int | None = None,
    image: Path | None = None,
    seed: int = 0,
    name: str | None = None,
    project: str | None = None,
    npu: NpuOptions | None = None,
    board: str | None = None,
) -> DeployReport:
    """Write the sources that run a model on a target, with its arena, its contracts and a self-test.

    Nothing is written before everything is computed and checked; the folder appears whole or not at all. The same
    arguments give the same bytes.

    Args:
        model: `.tflite` of any maker; without edgedet's metadata there are no contract.h and no edgedet_run(). Target
            `tflm` takes whatever TFLite Micro runs, `c99` the operators that edgedet has kernels for, and `web` those
            with contracts.
        target: `tflm` (TFLite Micro, C++), `c99` (plain C without an interpreter), `web` (that C in a page for
            browsers; needs clang and lld), or one of NPU_TARGETS: compiled by Vela for Arm's Ethos-U, in a project of
            target tflm.
        out: folder to write; it may exist when it is empty or an earlier deployment of the same target and project, as
            it was written, which is then replaced.
        ram_bytes: largest arena that is allowed; target c99 runs the first steps patch by patch when it must. None:
            any.
        image: picture for the golden vectors; None: a drawn one.
        seed: of the drawn picture.
        name: symbols, macros, files and build targets begin with it, so that several modules fit one image; lower-case
            C identifier. None: with `edgedet`.
        project: kind of the project to put around the module (`edgedet.deploy.projects.layout.PROJECTS`): build files
            and manifests, and an example from a frame to printed detections. None: the module alone.
        npu: targets ethos-u...: memory around the NPU; None: that of the board, else what stands for a microcontroller.
        board: name of a board, or path of its TOML: the model must fit there. None: that of the NPU's preset, else not
            checked.
    Returns:
        What was written.
    Raises:
        ConfigError: unknown target, project or board, a model that does not fit the board, a name that C does not
            take, an arena above `ram_bytes`, or `out` holds something else, another target or project, or files that
            were changed.
        ConversionError: the file is damaged, or TFLite Micro computes other bytes than the simulator.
        UnsupportedOpError: the target has no kernel for an operator.
        ToolchainError: the extra of the target's name is missing, or TFLite Micro refuses the model.
        DataError: the image is missing or broken.
    """
    module = module_name(name)
    _check_arguments(target, module, ram_bytes, project, npu, board)
    setup, wanted = _settle(target, npu, board)
    if project is not None:
        check_target(project, target, None if setup is None or setup.preset is None else setup.preset.name)
    with hold_output(out):
        earlier = check_replaceable(out, target, project)
        match target:
            case "tflm":
                product = deploy_tflm(model, ram_bytes, image, seed, module)
            case "c99":
                product = deploy_c99(model, ram_bytes, image, seed, module)
            case "web":
                product = deploy_web(model, ram_bytes, image, seed)
            case _:
                assert setup is not None
                product = deploy_ethos_u(model, ram_bytes, image, seed, module, setup)
        fitting = None if wanted is None else require_fit(wanted, product, target, model)
        if project is not None:
            product = with_project(product, target, project, module)
        carried, kept = carried_settings(out, earlier.staying, product.sources)
        manifest = {**product.manifest, "name": module.prefix}
        report = _report(product, target, out, project, fitting, tuple(kept), earlier.replaced(manifest))
        page = deploy_page(report, manifest, product.sources)
        manifest["files"] = {**manifest["files"], **file_table({PAGE: page})}
        write_folder(out, {**product.sources, **carried, PAGE: page}, manifest, product.binaries, earlier.staying)
    return report


def _report(
    product: Product,
    target: str,
    out: Path,
    project: str | None,
    fitting: BoardCheck | None,
    kept: tuple[str, ...],
    replaced: str,
) -> DeployReport:
    return DeployReport(
        target=target,
        out=out,
        files=tuple(out / name for name in (*product.sources, *product.binaries, PAGE, MANIFEST)),
        model_bytes=product.model_bytes,
        operators=product.operators,
        arena_bytes=product.arena_bytes,
        arena=product.arena,
        plan=None if product.program is None else product.program.plan,
        patches=None if product.program is None else product.program.patches,
        has_contract=product.has_contract,
        decoder=product.decoder,
        notes=product.notes,
        constant_bytes=product.constant_bytes,
        golden_source=product.golden_source,
        unchecked=product.unchecked,
        project=project,
        npu=product.npu,
        board=fitting,
        kept=kept,
        replaced=replaced,
    )


def _check_arguments(
    target: str,
    module: ModuleName,
    ram_bytes: int | None,
    project: str | None,
    npu: NpuOptions | None,
    board: str | None,
) -> None:
    """A ConfigError for what `deploy` can't do, before any work."""
    require_whole(1, ram_bytes=ram_bytes)
    if target not in TARGETS:
        raise ConfigError(f"`target` {target!r}: expected one of {', '.join(TARGETS)}{meant(target, TARGETS)}")
    if npu is not None and target not in NPU_TARGETS:
        raise ConfigError(f"options of an NPU with target {target}; take one of {', '.join(NPU_TARGETS)}")
    if project is not None:
        layout_of(project, module)
        if target == WEB:
            raise ConfigError(f"no `project` around target {target}: a page needs none; leave `project` out")
    if target == WEB and module != module_name(None):
        raise ConfigError(f"the name {module.prefix!r} is for modules of C; target web makes a page: leave `name` out")
    if target == WEB and board is not None:
        raise ConfigError(f"board {board!r} with target web, which runs in browsers; take target c99 or tflm")
    if ram_bytes is not None and ram_bytes < 1:
        raise ConfigError(f"the RAM limit must be at least 1 byte, got {ram_bytes}")


def _settle(target: str, npu: NpuOptions | None, board: str | None) -> tuple[NpuSetup | None, Board | None]:
    """NPU and board; a preset of one brings the board, a board its preset, so that both give the same."""
    wanted = None if board is None else board_of(board, target)
    if target not in NPU_TARGETS:
        return None, wanted
    setup = npu_setup(target, options_for(wanted, npu))
    if wanted is None and setup.preset is not None:
        wanted = board_with(setup.preset.name)
    return setup, wanted
