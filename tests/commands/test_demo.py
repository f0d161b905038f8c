"""The demo page: what it shows is what the detector finds, and nothing of it comes from elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch

from detkit.commands.demo import (
    Models,
    analyse,
    build_page,
    draw,
    find_runs,
    in_words,
    serve,
    stages_html,
    table,
    with_proposals,
)
from detkit.data.io.images import read_image
from detkit.predictor import Predictor, load

Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def predictor(finished_run: Path) -> Predictor:
    return load(finished_run, "cpu")


@pytest.fixture(scope="module")
def photo(voc_root: Path) -> Path:
    return voc_root / "JPEGImages" / "000000.png"


# What the page computes


def test_the_table_and_the_image_are_of_the_same_detections(predictor: Predictor, photo: Path) -> None:
    seen = analyse(predictor, photo)
    found = predictor.predict(photo, min_score=0.02)
    rows = table(seen, 0.02)
    assert len(rows) == len(found) > 0
    for row, (name, score, box) in zip(rows, found, strict=True):
        assert row[0] == name
        np.testing.assert_allclose(row[1:], [score, *box], atol=0.051)
    assert table(seen, 1.0) == []
    plain, boxes = draw(seen, 1.0, 0), draw(seen, 0.02, 0)
    assert plain.shape == boxes.shape == (675, 900, 3)  # enlarged, as sharp letters need it
    assert (plain != boxes).any()


def test_every_stage_is_timed(predictor: Predictor, photo: Path) -> None:
    stages = analyse(predictor, photo).stages
    assert list(stages) == ["decode", "resize", "convolution", "proposals", "regions", "nms"]
    assert all(ms > 0 for ms in stages.values())
    html = stages_html({"a<b": 1.0, "c": 3.0})
    assert "a&lt;b" in html and "width: 25.0%" in html and "4.0 ms" in html
    assert "0.0 ms" in stages_html({})


def test_what_is_not_shown_is_told(predictor: Predictor, photo: Path) -> None:
    seen = analyse(predictor, photo)
    count = len(predictor.predict(photo, min_score=0.01))
    words = in_words(seen, 1.0, 5)
    assert words.startswith(f"**0** detections of at least 1.00 in 128 x 96 px, {count} more of at least 0.01.")
    assert "proposals" not in words and words.endswith("The run knows 2 classes: bar, block")
    asked = in_words(with_proposals(seen), table(seen, 0.01)[0][1] - 0.0005, 300)
    assert asked.startswith("**1** detection of") and "In white: the best 16 of 16 proposals." in asked


def test_proposals_of_an_rpn_lie_in_the_image(predictor: Predictor, photo: Path) -> None:
    seen = analyse(predictor, photo)
    assert seen.proposals is None
    asked = with_proposals(seen)
    assert with_proposals(asked) is asked
    boxes = asked.proposals
    assert boxes is not None and 0 < len(boxes) <= 16
    assert (boxes >= 0).all() and (boxes <= torch.tensor([128.0, 96, 128, 96]) + 1e-3).all()
    assert boxes[:, 2].max() > 64  # pixels of the image, not of the resized one
    assert (draw(asked, 1.0, 3) != draw(asked, 1.0, 0)).any()
    assert (draw(asked, 1.0, 3) != draw(asked, 1.0, 2)).any()


def test_proposals_that_came_with_the_image_are_shown_as_they_are(predictor: Predictor, photo: Path) -> None:
    seen = analyse(predictor, photo)
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    object.__setattr__(seen.sample, "proposals", boxes)
    assert with_proposals(seen).proposals is boxes


def test_runs_are_found_where_they_lie(finished_run: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("old", "deep/new", "pretrained/pretraining")):
        (tmp_path / name).mkdir(parents=True)
        shutil.copy(finished_run / "model.pt", tmp_path / name)
        os.utime(tmp_path / name / "model.pt", (number, number))
    new, old = tmp_path / "deep/new", tmp_path / "old"
    assert list(find_runs([tmp_path]).items()) == [(str(new), new / "model.pt"), (str(old), old / "model.pt")]
    assert list(find_runs([old, old / "model.pt"])) == [str(old)]
    assert list(find_runs([tmp_path / "pretrained/pretraining"])) == [str(tmp_path / "pretrained/pretraining")]
    for missing in (tmp_path / "nowhere", tmp_path / "pretrained"):
        with pytest.raises(ValueError, match=r"no run with a model\.pt there"):
            find_runs([missing])


def test_models_are_loaded_once_and_the_last_two_kept(finished_run: Path) -> None:
    models = Models(dict.fromkeys("abc", finished_run / "model.pt"), "cpu")
    a, b = models.get("a"), models.get("b")
    assert models.get("a") is a
    models.get("c")
    assert models.get("a") is a and models.get("b") is not b
    with pytest.raises(ValueError, match="run 'd': expected one of a, b, c"):
        models.get("d")


def test_without_gradio(inside: Inside, finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    status, _, errors = inside("demo", finished_run)
    assert status == 2 and 'pip install "detkit[demo]"' in errors


def test_help_and_no_runs(inside: Inside, tmp_path: Path) -> None:
    status, output, _ = inside("demo", "--help")
    assert status == 0 and "detkit demo" in output
    status, _, errors = inside("demo", tmp_path)
    assert status == 2 and "no run with a model.pt there" in errors


# The page itself


@pytest.fixture(scope="module")
def address(finished_run: Path) -> Iterator[str]:
    pytest.importorskip("gradio")
    page = build_page(Models(find_runs([finished_run]), "cpu"))
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yield serve(page, port)
    page.close(verbose=False)


def test_an_image_is_detected_in_and_drawn(address: str, predictor: Predictor, finished_run: Path, photo: Path) -> None:
    gradio_client = pytest.importorskip("gradio_client")
    client = gradio_client.Client(address, verbose=False)
    client.predict(gradio_client.handle_file(photo), str(finished_run), api_name="/detect")
    drawn, rows, words, stages = client.predict(0.02, False, 5, api_name="/redraw")
    seen = analyse(predictor, photo)
    np.testing.assert_array_equal(read_image(Path(drawn)), draw(seen, 0.02, 0))
    assert rows["data"] == table(seen, 0.02)
    assert words == in_words(seen, 0.02, 0) and stages.startswith("<div") and "convolution" in stages
    _, _, words, _ = client.predict(1.0, True, 5, api_name="/redraw")
    assert "**0** detections" in words and "the best 5 of" in words
    with pytest.raises(gradio_client.exceptions.AppError, match="not in the list of choices"):
        client.predict(gradio_client.handle_file(photo), "/etc", api_name="/detect")


@pytest.mark.slow
def test_the_page_asks_nobody_but_this_machine(address: str, tmp_path: Path) -> None:
    """By the browser's own log of all it asked for: with names resolved, what it asks of others would be there too."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here")
    log = tmp_path / "net.json"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--log-net-log={log}"]
    command += ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
    command += ["--virtual-time-budget=15000", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    for text in ("Drop an image", "Least score", "Show proposals", "Detections, best first"):
        assert text in done.stdout
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # The browser has calls of its own to make, which no page asked for.
    asked = {event["url"] for event in events if "url" in event and address.startswith(event.get("initiator", "?"))}
    assert len(asked) > 20
    hosts = {urlsplit(url).hostname for url in asked if urlsplit(url).scheme in ("http", "https", "ws", "wss")}
    assert hosts == {"127.0.0.1"}
