"""Take the pictures of docs/howto/reports.md from the report of a run: ``python docs/_scripts/report_pictures.py RUN``.

RUN is a run directory with ``report.html``. Chromium and its driver are needed (``apt-get install chromium
chromium-driver``), and the package selenium.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from hiast.files import write_atomically

FOLDER = Path(__file__).parents[1] / "assets" / "pictures"
LARGEST = 400_000
"""Bytes of a file at most."""
DESKTOP, PHONE = 1280, 390
"""Widths of a window, in pixels."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window.

    Raises:
        SystemExit: There is none.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        raise SystemExit("Chromium and its driver are needed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    with tempfile.TemporaryDirectory() as profile:
        for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
            options.add_argument(option)
        options.add_argument(f"--user-data-dir={profile}")
        browser = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield browser
        finally:
            browser.quit()


def show(browser: Any, page: Path, width: int, height: int) -> None:
    """Open a page in a window of a size, as a phone does below 600 pixels."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.resolve().as_uri())


def capture(browser: Any) -> Image.Image:
    """What the window shows."""
    found = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    return Image.open(io.BytesIO(base64.b64decode(found["data"]))).convert("RGB")


def bottom(browser: Any, selector: str) -> int:
    """The lower edge of an element, in pixels from the top of the page."""
    script = "return Math.ceil(document.querySelector(arguments[0]).getBoundingClientRect().bottom + scrollY)"
    return int(browser.execute_script(script, selector))


def to_png(picture: Image.Image) -> bytes:
    """A PNG file.

    Raises:
        SystemExit: It is too large for the documentation.
    """
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    if buffer.tell() > LARGEST:
        raise SystemExit(f"The picture has {buffer.tell():,} bytes, and {LARGEST:,} are allowed.")
    return buffer.getvalue()


def take(page: Path) -> dict[str, Image.Image]:
    """Name -> picture: the first sections on a desktop and on a phone, and an example that was clicked on."""
    pictures = {}
    with chromium() as browser:
        for name, width, last in (("desktop", DESKTOP, "#classes"), ("phone", PHONE, "#scores")):
            show(browser, page, width, 900)
            show(browser, page, width, bottom(browser, last) + 16)
            pictures[f"report_{name}"] = capture(browser)
        show(browser, page, DESKTOP, 640)
        browser.execute_script(
            "const one = document.querySelector('#labels .example, #images .example');"
            "one.scrollIntoView({block: 'center'}); one.click()"
        )
        pictures["report_example"] = capture(browser)
    return pictures


def main() -> None:
    """Take and write the pictures."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture in take(Path(sys.argv[1]) / "report.html").items():
        content = to_png(picture)
        write_atomically(FOLDER / f"{name}.png", content)
        print(f"Wrote {name}.png: {picture.width} x {picture.height} pixels, {len(content):,} bytes.")


if __name__ == "__main__":
    main()
