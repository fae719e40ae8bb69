"""Makes the pictures of README anew from the real pages: ``python docs/images/make.py``, some two minutes.

A stack of its own runs ``examples/digits-asha.yaml``; needs Chromium.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from ladder.client import Client
from ladder.specfile import parse
from ladder.stack import LocalStack

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WIDTH, HEIGHT = 1280, 900
PICTURES = {
    "overview": "/studies/digits-asha",
    "rungs": "/studies/digits-asha/rungs",
    "trials": "/studies/digits-asha/trials",
}


def main() -> int:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("no chromium: apt-get install chromium\n")
        return 1
    spec = parse((ROOT / "examples/digits-asha.yaml").read_text(), "digits-asha.yaml").data
    home = Path(tempfile.mkdtemp(prefix="ladder-pictures-"))
    try:
        with LocalStack(home, workers=2) as stack, Client(stack.url, stack.token) as client, sync_playwright() as play:
            stack.wait_workers()
            client.studies.create(spec).wait(until="confirmed", timeout="15m")
            browser = play.chromium.launch(
                executable_path=chromium,
                args=["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
            )
            for theme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=theme, reduced_motion="reduce"
                )
                page = context.new_page()
                page.goto(f"{stack.url}/login#{stack.token}")
                page.wait_for_selector("h1:has-text('Studies')")
                for name, path in PICTURES.items():
                    page.goto(stack.url + path)
                    settle(page)
                    keep(page.screenshot(), HERE / f"{name}-{theme}.png")
    finally:
        shutil.rmtree(home)
    return 0


def settle(page: Page) -> None:
    """Wait until every figure in view is drawn and the stream is open."""
    for island in page.locator("[data-plot]").all():
        island.scroll_into_view_if_needed()
        island.locator(".js-plotly-plot, .problem").first.wait_for()
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, 0)")


def keep(picture: bytes, to: Path) -> None:
    """Written with a palette: a third of the size, and no difference to see."""
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(to, optimize=True)


if __name__ == "__main__":
    raise SystemExit(main())
