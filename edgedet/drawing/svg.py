"""A small SVG writer: shapes in px, y downwards, one font."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgedet.escape import xml_text

INK, GREY, LIGHT = "#1f2933", "#7b8794", "#d9dee3"
BLUE, ORANGE, RED = "#2f6fb3", "#e08a2b", "#c0392b"


@dataclass
class Svg:
    """Collects shapes; `text()` gives the file."""

    width: float  # px
    height: float
    _shapes: list[str] = field(default_factory=list)

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str, title: str = "", stroke: str = ""
    ) -> None:
        """A filled rectangle; `title` is what a browser shows under the mouse, `stroke` a hair line around it."""
        border = f' stroke="{stroke}" stroke-width="0.5"' if stroke else ""
        tip = f"<title>{xml_text(title)}</title>" if title else ""
        self._shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{border}>'
            f"{tip}</rect>"
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, stroke: str = LIGHT, dash: str = "") -> None:
        """A line, 1 px wide."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self._shapes.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"{dashes}/>'
        )

    def polyline(self, points: list[tuple[float, float]], stroke: str) -> None:
        """A line through points."""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(f'<polyline points="{joined}" fill="none" stroke="{stroke}" stroke-width="1.5"/>')

    def circle(self, x: float, y: float, radius: float, fill: str, title: str = "") -> None:
        """A filled circle."""
        tip = f"<title>{xml_text(title)}</title>" if title else ""
        self._shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}">{tip}</circle>')

    def label(
        self, x: float, y: float, words: str, anchor: str = "start", size: int = 12, fill: str = INK, turn: int = 0
    ) -> None:
        """Text whose baseline starts (`start`), is centred (`middle`) or ends (`end`) at (x, y); `turn` in degrees."""
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}"{turned}>'
            f"{xml_text(words)}</text>"
        )

    def text(self) -> str:
        """The whole file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:g}" height="{self.height:g}" '
            f'viewBox="0 0 {self.width:g} {self.height:g}" font-family="sans-serif">'
        )
        background = f'<rect width="{self.width:g}" height="{self.height:g}" fill="white"/>'
        return "\n".join([head, background, *self._shapes, "</svg>"]) + "\n"
