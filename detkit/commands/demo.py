"""A web page on this machine to try detectors with: what detkit demo serves. Nothing is fetched from the net or sent.

gradio, which makes the page of Python, is optional; it is imported when the page is made.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from detkit.data.io.image_sources import OpenImage, Pixels
from detkit.detectors.two_stage import TwoStageDetector
from detkit.evaluation.speed import StageClock
from detkit.predictor import Predictor, load
from detkit.reports.overview import draw_detections
from detkit.structures import Detections, Sample

LEAST_SCORE = 0.01  # of detections that are kept, so that the threshold can be moved without detecting again
MAX_PROPOSALS = 300
DRAWN_SIDE = 900  # px: smaller images are enlarged before boxes are drawn, or the letters would be coarse
ADDRESS = "127.0.0.1"
INSTALL = 'pip install "detkit[demo]"'

_PRETRAINING = "pretraining"  # the folder in a run that detkit/commands/pretrain.py makes
_NAMED_CLASSES = 20
_KEPT_MODELS = 2  # the last ones used stay in memory
_FONTS = ("system-ui", "sans-serif")  # of the visitor's machine: gradio's own would be asked of Google
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_STYLE = """
.stages table { width: 100%; margin: 0; border: none; }
.stages tr, .stages td { border: none; }
.stages td { padding: 2px 12px 2px 0; white-space: nowrap; }
.stages td.number { text-align: right; font-variant-numeric: tabular-nums; }
.stages td.bar { width: 100%; }
.stages td.bar div { height: 10px; border-radius: 2px; background: #3b82f6; }
"""


@dataclass(frozen=True, eq=False)
class Analysis:
    """An image and what a detector made of it."""

    predictor: Predictor
    image: OpenImage
    sample: Sample
    found: Detections  # of at least LEAST_SCORE
    stages: dict[str, float]  # ms
    proposals: Tensor | None = None  # (N, 4) px of the image, best first; None: not asked for yet


class Models:
    """The detectors of some runs by name, loaded when they are asked for."""

    def __init__(self, runs: Mapping[str, Path], device: str | None) -> None:
        self.runs, self.device = runs, device
        self._loaded: dict[str, Predictor] = {}  # the last one used is the last

    def get(self, name: str) -> Predictor:
        """Raises ValueError for a name that is none of the runs', and a file that cannot be read."""
        if name not in self.runs:
            raise ValueError(f"run {name!r}: expected one of {', '.join(self.runs)}")
        predictor = self._loaded.pop(name, None) or load(self.runs[name], self.device)
        self._loaded[name] = predictor
        for oldest in list(self._loaded)[:-_KEPT_MODELS]:
            del self._loaded[oldest]
        return predictor


def find_runs(paths: Sequence[Path]) -> dict[str, Path]:
    """The files of detectors by name, the newest first: those named, and all in folders that are no run.

    Raises ValueError for a path without any.
    """
    found: dict[str, Path] = {}
    for path in paths:
        models = [path] if path.is_file() else [path / "model.pt"]
        if not models[0].is_file():
            # Pretraining leaves a model.pt too, of a classifier of crops.
            models = [model for model in path.rglob("model.pt") if model.parent.name != _PRETRAINING]
        if not models:
            raise ValueError(f"{path}: no run with a model.pt there; name another, or train one: detkit train")
        found |= {str(model.parent if model.name == "model.pt" else model): model for model in models}
    return dict(sorted(found.items(), key=lambda one: one[1].stat().st_mtime, reverse=True))


def analyse(predictor: Predictor, path: Path) -> Analysis:
    """Detect in an image file, and time the stages. Raises ValueError for what is no image."""
    clock = StageClock(predictor.device)
    with clock("decode"):
        image = predictor.open(path)
    sample = predictor.sample(image, clock)
    with clock("resize"):
        batch = predictor.batch([sample])
    [found] = predictor.detector.detect(batch, clock, LEAST_SCORE)
    stages = {stage: times["mean"] for stage, times in clock.summary().items()}
    return Analysis(predictor, image, sample, found, stages)


@torch.no_grad()
def with_proposals(seen: Analysis) -> Analysis:
    """With the boxes that the detector looked into. An RPN is asked once more: detecting does not keep them."""
    if seen.proposals is not None:
        return seen
    if seen.sample.proposals is not None:
        return replace(seen, proposals=seen.sample.proposals)
    detector = seen.predictor.detector
    assert isinstance(detector, TwoStageDetector)  # the staged ones are given their proposals
    batch = seen.predictor.batch([seen.sample])
    boxes, real = detector.proposals.propose(detector.extract(batch), batch)
    scale = (batch.original_sizes[0] / batch.sizes[0]).flip(0).repeat(2)
    return replace(seen, proposals=(boxes[0, real[0]] * scale.to(boxes.dtype)).cpu())


def draw(seen: Analysis, min_score: float, num_proposals: int) -> Pixels:
    """The image with its detections, and with the best proposals as thin boxes beneath them."""
    pixels, found = seen.image.pixels, seen.found
    factor = max(1.0, DRAWN_SIDE / max(pixels.shape[:2]))
    canvas = np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    if num_proposals and seen.proposals is not None:
        canvas = _draw_thin(canvas, seen.proposals[:num_proposals] * factor)
    enlarged = Detections(found.boxes * factor, found.scores, found.labels)
    return draw_detections(canvas, enlarged, seen.predictor.classes, min_score)


def _draw_thin(canvas: Pixels, boxes: Tensor) -> Pixels:
    for color, width, weight in ((_BLACK, 3, 0.2), (_WHITE, 1, 0.8)):  # a dark rim shows on any ground
        lines = canvas.copy()
        for x1, y1, x2, y2 in boxes.round().int().tolist():
            cv2.rectangle(lines, (x1, y1), (x2 - 1, y2 - 1), color, width)
        canvas = np.asarray(cv2.addWeighted(lines, weight, canvas, 1 - weight, 0), dtype=np.uint8)
    return canvas


def table(seen: Analysis, min_score: float) -> list[list[str | float]]:
    """Rows of the detections of at least `min_score`: class, score, x1, y1, x2, y2."""
    found, classes = seen.found, seen.predictor.classes
    rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    return [
        [classes[label], round(score, 3), *(round(side, 1) for side in box)]
        for label, score, box in rows
        if score >= min_score
    ]


def in_words(seen: Analysis, min_score: float, num_proposals: int) -> str:
    """What is shown and what is not, as Markdown."""
    shown = int((seen.found.scores >= min_score).sum())
    height, width = seen.image.size
    text = f"**{shown}** detection{'' if shown == 1 else 's'} of at least {min_score:.2f} in {width} x {height} px, "
    text += f"{len(seen.found) - shown} more of at least {LEAST_SCORE}."
    if num_proposals and seen.proposals is not None:
        text += f" In white: the best {min(num_proposals, len(seen.proposals))} of {len(seen.proposals)} proposals."
    classes = seen.predictor.classes
    named = ", ".join(classes[:_NAMED_CLASSES]) + (" ..." if len(classes) > _NAMED_CLASSES else "")
    return f"{text}<br>The run knows {len(classes)} class{'' if len(classes) == 1 else 'es'}: {escape(named)}"


def stages_html(stages: Mapping[str, float]) -> str:
    """Milliseconds of each stage, with bars."""
    total = sum(stages.values())
    rows = "".join(
        f'<tr><td>{escape(stage)}</td><td class="number">{ms:,.1f} ms</td>'
        f'<td class="bar"><div style="width: {100 * ms / max(total, 1e-9):.1f}%"></div></td></tr>'
        for stage, ms in stages.items()
    )
    total_row = f'<tr><td><b>in all</b></td><td class="number"><b>{total:,.1f} ms</b></td><td></td></tr>'
    title = "Time of each stage; the first image of a run takes longer"
    return f'<div class="stages">{title}<table>{rows}{total_row}</table></div>'


def import_gradio() -> ModuleType:
    """gradio, told not to call its makers or Hugging Face. Raises ValueError where it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read while it is imported
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        return import_module("gradio")
    except ImportError as error:
        raise ValueError(f"the page needs gradio ({error}); {INSTALL}") from error


def build_page(models: Models) -> Any:
    """The page as gradio.Blocks. Raises ValueError where gradio is not installed."""
    gr = import_gradio()

    def told(error: Exception) -> Exception:
        return gr.Error(escape(str(error)), duration=None)  # type: ignore[no-any-return]

    def detect(path: str | None, run: str) -> Analysis | None:
        try:
            return None if path is None else analyse(models.get(run), Path(path))
        except (ValueError, OSError) as error:
            raise told(error) from error

    def show(seen: Analysis | None, min_score: float, want_proposals: bool, num_proposals: int) -> tuple[Any, ...]:
        if seen is None:
            return None, None, [], "", ""
        seen = with_proposals(seen) if want_proposals else seen
        count = num_proposals if want_proposals else 0
        drawn, rows = draw(seen, min_score, count), table(seen, min_score)
        return seen, drawn, rows, in_words(seen, min_score, count), stages_html(seen.stages)

    with gr.Blocks(title="detkit", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown("## detkit\nDrop an image and see what a detector finds. All of it stays on this machine.")
        seen = gr.State(None)
        with gr.Row():
            with gr.Column(scale=2):
                image = gr.Image(
                    label="Image", type="filepath", image_mode=None, sources=["upload", "clipboard"], height=300
                )
                run = gr.Dropdown(list(models.runs), label="Run", info="the newest first")
                min_score = gr.Slider(LEAST_SCORE, 1, 0.5, step=0.01, label="Least score")
                want_proposals = gr.Checkbox(False, label="Show proposals", info="the boxes the detector looked into")
                num_proposals = gr.Slider(1, MAX_PROPOSALS, 50, step=1, label="Proposals, best first", visible=False)
            with gr.Column(scale=3):
                drawn = gr.Image(
                    label="Detections", interactive=False, format="png", buttons=["download", "fullscreen"]
                )
                words = gr.Markdown()
                rows = gr.Dataframe(
                    headers=["class", "score", "x1", "y1", "x2", "y2"],
                    datatype=["str"] + ["number"] * 5,
                    label="Detections, best first; corners in px",
                    interactive=False,
                    max_height=320,
                )
                stages = gr.HTML()
        inputs, outputs = [seen, min_score, want_proposals, num_proposals], [seen, drawn, rows, words, stages]
        gr.on(
            [image.change, run.change], detect, [image, run], seen, api_name="detect", concurrency_id="detector"
        ).success(show, inputs, outputs, api_visibility="private", concurrency_id="detector")
        gr.on(
            [min_score.change, want_proposals.change, num_proposals.change],
            show,
            inputs,
            outputs,
            api_name="redraw",
            concurrency_id="detector",
            show_progress="hidden",
            trigger_mode="always_last",
        )
        want_proposals.change(
            lambda wanted: gr.update(visible=wanted), want_proposals, num_proposals, api_visibility="private"
        )
    return page


def serve(page: Any, port: int) -> str:
    """Start the page on this machine alone and return its address; it ends with `page.close()`.

    Raises OSError where the port is taken.
    """
    gr = import_gradio()
    theme = gr.themes.Base(font=_FONTS, font_mono=("ui-monospace", "monospace"))
    _, address, _ = page.launch(
        server_name=ADDRESS,
        server_port=port,
        share=False,
        prevent_thread_lock=True,
        quiet=True,
        show_error=True,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        footer_links=[],
        theme=theme,
        css=_STYLE,
        max_file_size="200mb",
        app_kwargs={"docs_url": None, "redoc_url": None},  # pages of FastAPI, which load scripts from elsewhere
    )
    return str(address)
