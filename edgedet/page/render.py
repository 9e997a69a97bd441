"""From a page to one HTML file that needs nothing else."""

from __future__ import annotations

import re
from typing import Any

from edgedet import __version__
from edgedet.drawing.curves import inline_svg
from edgedet.errors import missing_extra
from edgedet.escape import html_text
from edgedet.page.blocks import Page

_CODE = re.compile(r"`([^`<>]+)`")  # of escaped text


def render(page: Page) -> str:
    """HTML of a page.

    Args:
        page: everything that it says.
    Returns:
        The file: no script, style, font or picture from elsewhere. All text goes through `escape.html_text`.
    Raises:
        ToolchainError: Jinja2 is missing.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise missing_extra("jinja2", "train") from error

    def escaped(value: Any) -> Markup:
        return value if isinstance(value, Markup) else Markup(html_text(str(value)))

    def prose(value: str) -> Markup:
        """Escaped text, with what stands between backquotes as code."""
        return Markup(_CODE.sub(r"<code>\1</code>", html_text(value)))

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgedet.page", "templates"),
        autoescape=True,
        finalize=escaped,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(page=page, version=__version__, svg=lambda text: Markup(inline_svg(text)), prose=prose)
