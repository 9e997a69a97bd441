"""Screenshots of a page, light and dark, narrow and wide: python bench/report_pictures.py RUN OUT [--open PICTURE...].

RUN: a run with report.html, or an HTML file. --open: pictures that a page of `deploy --target web` runs the network on.

Needs Chromium, its driver (Debian: chromium, chromium-driver) and selenium of the extra `dev`.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_SCROLL = "[...document.querySelectorAll('h2')].find(h => h.textContent === arguments[0]).scrollIntoView()"
MOST_BYTES = 200_000  # of a picture in docs/


@contextmanager
def chromium(
    browser: str, driver: str, width_px: int = 1400, height_px: int = 1000, flags: tuple[str, ...] = ()
) -> Iterator[webdriver.Chrome]:
    """A headless browser with an empty profile; `get_log("browser")` gives its console."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*FLAGS, *flags, f"--user-data-dir={profile}", f"--window-size={width_px},{height_px}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        opened = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield opened
        finally:
            opened.quit()


def show(opened: webdriver.Chrome, page: Path, width_px: int, height_px: int, dark: bool) -> None:
    """Open a page at a size of the window's inside, light or dark."""
    size = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    opened.get(page.resolve().as_uri())


def screenshot(
    opened: webdriver.Chrome,
    page: Path,
    width_px: int,
    dark: bool,
    height_px: int = 0,
    files: Sequence[Path] = (),
    at: str = "",
) -> Image.Image:
    """A picture of the page; height 0: all of it; files: opened in a page of target web; at: heading to begin with."""
    show(opened, page, width_px, height_px or 1000, dark)
    if files:
        opened.find_element("id", "files").send_keys("\n".join(str(path.resolve()) for path in files))
        while "done" not in (said := opened.find_element("id", "state").text):
            if "can't" in said:
                raise SystemExit(said)
            time.sleep(0.1)
    if not height_px:
        whole = int(opened.execute_script("return document.documentElement.scrollHeight"))
        show(opened, page, width_px, whole, dark)
    if at:
        opened.execute_script(_SCROLL, at)
    return Image.open(io.BytesIO(opened.get_screenshot_as_png())).convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """As JPEG, of the quality that stays below MOST_BYTES."""
    for quality in range(88, 20, -8):
        picture.save(path, quality=quality, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            return
    raise SystemExit(f"{path}: {path.stat().st_size} bytes, expected below {MOST_BYTES}")


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder with report.html, or an HTML file")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    parser.add_argument("--open", nargs="+", type=Path, default=[], help="pictures for a page of target web")
    parser.add_argument("--whole", action="store_true", help="the whole page, whatever it weighs, to look at")
    args = parser.parse_args()
    page = args.run if args.run.suffix == ".html" else args.run / "report.html"
    name = args.run.stem
    args.out.mkdir(parents=True, exist_ok=True)
    with chromium("/usr/bin/chromium", "/usr/bin/chromedriver") as opened:
        for width_px in (1400, 400):
            for dark in (False, True):
                path = args.out / f"{name}-{width_px}-{'dark' if dark else 'light'}.jpg"
                picture = screenshot(opened, page, width_px, dark, 0 if args.whole else 1000, args.open)
                picture.save(path, quality=85) if args.whole else save(picture, path)
                print(f"{path}: {path.stat().st_size} bytes, {picture.size}")


if __name__ == "__main__":
    main()
