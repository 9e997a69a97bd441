"""Where kernels/, models/ and firmware_export/ are: at the top of a checkout, or inside the installed wheel."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import ToolchainError

RESOURCES = ("kernels", "models", "firmware_export")

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(name: str) -> Path:
    """Folder of data files that travels with edgedet.

    Args:
        name: one of `RESOURCES`.
    Returns:
        An existing folder: `edgedet/_resources/NAME` in an installed wheel, `NAME` beside pyproject.toml in a checkout
        or an editable installation.
    Raises:
        ToolchainError: the name is unknown, or the folder is missing from this installation.
    """
    if name not in RESOURCES:
        raise ToolchainError(f"unknown resource folder {name!r}; there are {', '.join(RESOURCES)}")
    installed = _PACKAGE / "_resources" / name
    if installed.is_dir():
        return installed
    checkout = _PACKAGE.parent
    # Without this check a stray site-packages/models of another distribution would be taken for ours.
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    raise ToolchainError(
        f"{name}/ is neither in {installed.parent} (wheel) nor in {checkout} (checkout): this installation is "
        "incomplete; reinstall it with pip install --force-reinstall --no-deps edgedet, or restore the checkout"
    )
