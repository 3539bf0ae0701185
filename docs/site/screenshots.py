"""Photograph every page of the built site in headless Chromium: python docs/site/screenshots.py FOLDER [PAGE ...].

Needs `mkdocs build`, Debian's packages chromium and chromium-driver, and selenium. Each page is taken whole, in parts
of some screens, at desktop and at phone width, light and dark. Prints the pages that are wider than the screen, and the
images that are missing.
"""

import base64
import functools
import http.server
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

SITE = Path(__file__).parent.parent.parent / "site"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
SIZES = {"desktop": (1400, 1000), "phone": (390, 844)}
PART = 4000  # pixels of height in one picture
FAULTS = """
const wide = document.documentElement.scrollWidth - window.innerWidth;
const missing = [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src);
return [wide, missing];
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass


def photograph(browser: Any, name: Path, width: int) -> None:
    """Take the whole page as NAME-0.png, NAME-1.png, ..."""
    height = browser.execute_script("return document.documentElement.scrollHeight")
    for number, top in enumerate(range(0, height, PART)):
        clip = {"x": 0, "y": top, "width": width, "height": min(PART, height - top), "scale": 1}
        taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        name.with_name(f"{name.name}-{number}.png").write_bytes(base64.b64decode(taken["data"]))


def main(folder: Path, wanted: list[str]) -> None:
    """Take the pictures into ``folder``."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    folder.mkdir(parents=True, exist_ok=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={tempfile.mkdtemp()}"]:
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    pages = [path.parent.relative_to(SITE).as_posix() for path in sorted(SITE.rglob("index.html"))]
    try:
        for page in [page for page in pages if not wanted or page in wanted]:
            for scheme in ("light", "dark"):
                media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
                for size, (width, height) in SIZES.items():
                    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
                    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                    browser.get(f"http://127.0.0.1:{server.server_port}/{page}/")
                    browser.execute_script("localStorage.clear()")  # where the last choice of light or dark is kept
                    browser.refresh()
                    wide, missing = browser.execute_script(FAULTS)
                    if wide > 0 or missing:
                        print(f"{page} ({size}, {scheme}): {wide} px too wide, missing images {missing}")
                    name = f"{page.replace('/', '_').strip('.') or 'home'}-{size}-{scheme}"
                    photograph(browser, folder / name, width)
    finally:
        browser.quit()
        server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
