"""The pages in a browser, where one is installed: they load without an error, and their scripts do what they say."""

import html
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from detkit.evaluation.assessment import Assessment
from detkit.reports.image_comparison import write_image_comparison
from detkit.reports.run_report import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome")

# What a reader does: sort by name, enlarge the first tile, go to the next, hide the objects.
CLICKS = """
<script>
const click = (selector) => document.querySelector(selector).click();
click("table.sortable th button");
click("#gallery-tiles .image");
click("#gallery-next");
click("#gallery-toggles input");
</script>
</body>
"""


def opened(page: Path, address: str, profile: Path) -> str:
    """The page's HTML once its scripts have run; fails for a word on the console."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    command = [str(BROWSER), *options, f"--user-data-dir={profile}", "--virtual-time-budget=2000", "--dump-dom"]
    done = subprocess.run([*command, f"{page.as_uri()}#{address}"], capture_output=True, text=True, timeout=120)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert 'data-ready="true"' in done.stdout and 'data-errors="0"' in done.stdout
    return done.stdout


def captions(dom: str) -> list[str]:
    found = re.findall(r"<figcaption>(?:<span class=\"kind\">)(.*?)</figcaption>", dom, re.DOTALL)
    return [html.unescape(re.sub(r"<br>", "; ", re.sub(r"<(?!br)[^>]+>", "", text))) for text in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, assessment: Assessment, hostile: str) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    write_report(folder / "run", hostile, {}, assessment, "", None, images=True)
    write_image_comparison(folder / "compared", ["a", hostile], [assessment, assessment])
    return folder


def test_a_filter_in_the_address(folder: Path, tmp_path: Path, hostile: str) -> None:
    """Also that a name is text: an alert would be a script that ran, and counts as an error of this page."""
    dom = opened(folder / "run" / "report.html", f"kind=missed&class={quote(hostile)}&sort=large&find=ON", tmp_path)
    assert captions(dom) == [f"missed {hostile}, 30 × 30 px, detected in a poor place; one"]
    assert '<span class="quiet">1</span>' in dom
    assert 'src="report_files/images/0.jpg"' in dom
    assert dom.count("<script") == 5


def test_clicks(folder: Path, tmp_path: Path, hostile: str) -> None:
    page = folder / "run" / "clicked.html"
    text = (folder / "run" / "report.html").read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", CLICKS), encoding="utf-8")
    dom = opened(page, "kind=false&sort=small", tmp_path)
    # By area: nothing (100 px), the poor place (300), the duplicate (380), the wrong class (900).
    assert [text.split()[0] for text in captions(dom)] == ["background", "localisation", "duplicate", "confusion"]
    assert 'aria-sort="ascending"' in dom
    body = dom[dom.index("<dialog") :]
    assert "open" in body[: body.index(">")]
    assert ">2 of 4</span>" in body
    large = body[body.index('id="gallery-large"') : body.index("<ul")]
    # The three detections of the first image and the chosen one's object, each on its rim.
    assert large.count("<rect") == 2 * (3 + 1 + 1) and large.count("<text") == 3


def test_comparison(folder: Path, tmp_path: Path) -> None:
    dom = opened(folder / "compared" / "compare.html", "kind=found-0", tmp_path)
    assert len(captions(dom)) == 3 and all(text.startswith("found by none") for text in captions(dom))
