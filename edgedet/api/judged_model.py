"""What can be learned about a model's file before it is on the chip: check, inspect, waterfall, lint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.dataset import Data, as_dataset, known_split
from edgedet.api.model_file import INT8, ModelFile
from edgedet.api.public import public
from edgedet.api.runs import file_of
from edgedet.fileio import PathLike, as_path
from edgedet.typed import require_given, require_one, require_whole

if TYPE_CHECKING:
    from edgedet.api.model import Model
    from edgedet.diagnose.inspect import Inspection
    from edgedet.diagnose.waterfall import Waterfall
    from edgedet.hardware.check import CheckReport
    from edgedet.lint.finding import LintReport
    from edgedet.npu.cores import NpuOptions


@dataclass(frozen=True, eq=False, repr=False)
class JudgedModel(ModelFile):
    """A model's file, and what can be learned about it."""

    @public
    def check(self, board: str = "all", *, target: str = "c99", ram_bytes: int | None = None) -> CheckReport:
        """Say whether an int8 file fits boards, how fast it may run there, and what would make it fit.

        Args:
            board: name of a board (`edgedet.boards()`), path of its TOML, or `all`; ways to make it fit are looked
                for when it is one.
            target: `c99` (planned and measured), `tflm` (code and stack are assumed), or `ethos-u55-64` and the like
                (compiled by Vela, with its estimate).
            ram_bytes: largest arena, as of `deploy`.
        Returns:
            The report; `report.fits`, `print(report)`, one of `report.checks` for each board.
        Raises:
            ConfigError: not an int8 file, or no such board.
        """
        from edgedet.deploy.preflight import TARGETS, boards_of, check

        require_one("target", target, TARGETS)
        require_whole(1, ram_bytes=ram_bytes)
        self._require(INT8, to="check", instead="make it int8 with quantize() first")
        return check(self.path, boards_of(board), target=target, ram_bytes=ram_bytes)

    @public
    def inspect(
        self,
        against: PathLike | Model,
        data: Data,
        *,
        split: str = "valid",
        images: int = 32,
        seed: int = 0,
        skip_broken: bool = False,
    ) -> Inspection:
        """Compare every layer of an int8 file with the checkpoint that it was made from.

        Args:
            against: that checkpoint: its path, the folder of its run, or the model.
            data: folder of a data set, or what `open_dataset` gave.
            split: train, valid or test.
            images: how many of it.
            seed: decides which.
            skip_broken: draw others in place of images that can't be decoded; else they are an error.
        Returns:
            The report: `print(report)` shows the most sensitive layers, `report.layers` has all.
        Raises:
            ConfigError: not an int8 file.
            EdgedetError: the file is not from this checkpoint, or something can't be read.
        """
        from edgedet.api.steps.diagnosing import inspect

        require_given(images=images, seed=seed)
        require_whole(1, images=images)
        require_whole(seed=seed)
        known = known_split(split, "split")
        self._require(INT8, to="inspect", instead="make it int8 with quantize() first")
        return inspect(self.path, _checkpoint(against), as_dataset(data, skip_broken), known, images, seed)

    @public
    def waterfall(
        self,
        against: PathLike | Model,
        data: Data,
        *,
        split: str = "valid",
        images: int | None = None,
        original: PathLike | Model | None = None,
        skip_broken: bool = False,
    ) -> Waterfall:
        """Measure the AP of every form of a network on its way to an int8 file, and mark the step that loses it.

        Args:
            against: the checkpoint that the file was made from: its path, the folder of its run, or the model.
            data: folder of a data set, or what `open_dataset` gave.
            split: train, valid or test.
            images: only the first so many; None: all.
            original: the checkpoint before its activations were substituted; None: they were not.
            skip_broken: leave out images that can't be decoded; else they are an error.
        Returns:
            The report: `print(report)`, `report.steps`, `report.guilty`.
        Raises:
            ConfigError: not an int8 file.
            EdgedetError: the file is not from this checkpoint, or something can't be read.
        """
        from edgedet.api.steps.diagnosing import waterfall

        require_whole(1, images=images)
        known = known_split(split, "split")
        before = None if original is None else _checkpoint(original, "original")
        self._require(INT8, to="measure the waterfall of", instead="make it int8 with quantize() first")
        return waterfall(self.path, _checkpoint(against), as_dataset(data, skip_broken), known, images, before)

    @public
    def lint(self, *, target: str | None = None, npu: NpuOptions | None = None) -> LintReport:
        """Say what in the file will hurt on the chip.

        Args:
            target: an NPU, `ethos-u55-64` and the like: what costs cycles there, too. None: no NPU.
            npu: board or memory around it, as of `deploy`.
        Returns:
            The report: `print(report)`, one of `report.findings` for each thing, the worst first.
        Raises:
            ConfigError: no such NPU, or `npu` without `target`.
            EdgedetError: the file can't be read, or a package that this needs is missing.
        """
        from edgedet.lint.api import lint
        from edgedet.npu.cores import NPU_TARGETS, require_npu_options

        require_npu_options(npu)
        if target is not None:
            require_one("target", target, NPU_TARGETS)

        return lint(self.path, target, npu)


def _checkpoint(model: PathLike | Model, argument: str = "against") -> Path:
    """Its file: of a model, of the folder of a run, or as it is."""
    return model.path if isinstance(model, ModelFile) else file_of(as_path(model, argument))
