"""The notebooks of docs/: they run whole, show what they promise, and are committed without outputs."""

import base64
import io
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
PATIENCE = 600  # seconds a cell; all take about a minute on a free machine


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in cells if cell.outputs or cell.execution_count is not None] == []
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def shown(notebook: Any, kind: str) -> list[str]:
    """What the cells display of a MIME type."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


@pytest.mark.slow
def test_own_data_runs_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where its folder is made
    notebook = nbformat.read(DOCS / "notebooks" / "own_data.ipynb", as_version=4)
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute(cwd=str(tmp_path))
    run_table, _, scores, *_ = shown(notebook, "text/html")
    assert "<td>40 of 40 steps</td>" in run_table and "<th>voc07</th>" in scores
    images = shown(notebook, "image/png")
    assert len(images) == 2 and all(Image.open(io.BytesIO(base64.b64decode(image))).width > 100 for image in images)
    [table] = tmp_path.glob("*/detections.csv")
    assert table.read_text().startswith("image,class,score,x1,y1,x2,y2\n")
