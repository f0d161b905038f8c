"""What `datasets` saves: splits, rows, names of classes, and images written out; files are made as it makes them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detkit.data.faults import DatasetMissing, Severity
from detkit.data.formats import hf_saved
from detkit.data.formats.hf_saved import find_hf_saved_splits, read_hf_saved_split
from tests.data.formats.told import errors

HEIGHT, WIDTH = 20, 40
CLASS = {"feature": {"names": ["dog", "hex nut"], "_type": "ClassLabel"}, "_type": "List"}
FEATURES = {"image": {"_type": "Image"}, "objects": {"bbox": {"_type": "List"}, "category": CLASS}}


def png(shade: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (shade, 2, 3)).save(stream, "PNG")
    return stream.getvalue()


def row(name: str | None, category: int = 1, data: bytes | None = None) -> dict[str, Any]:
    picture = {"bytes": png() if data is None else data, "path": name}
    return {"image": picture, "objects": {"bbox": [[10.0, 5.0, 20.0, 10.0]], "category": [category]}}


def saved(folder: Path, *rows: dict[str, Any]) -> Path:
    """Two rows a file, as save_to_disk writes them (with pyarrow)."""
    arrow = pytest.importorskip("pyarrow")
    folder.mkdir(parents=True)
    names = []
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    for start in range(0, len(rows), 2):
        names.append(f"data-{start // 2:05d}.arrow")
        table = arrow.Table.from_pylist(list(rows[start : start + 2])).replace_schema_metadata(metadata)
        with arrow.ipc.new_stream(folder / names[-1], table.schema) as stream:
            stream.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def described(folder: Path, features: dict[str, Any] = FEATURES) -> Path:
    """As save_to_disk leaves it, without the file of data."""
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-0.arrow"}]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def test_a_dict_of_splits_is_read_and_its_images_are_written_once(tmp_path: Path) -> None:
    saved(tmp_path / "train", row("a.png"), row("night/a.png", 0), row(None, data=png(9)))
    saved(tmp_path / "validation", row("C:\\x\\b (1).png"))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    assert find_hf_saved_splits(tmp_path) == ("train", "validation")
    found = read_hf_saved_split(tmp_path, "train")
    assert [fault.severity for fault in found.faults] == [Severity.INFO]
    assert found.truth.classes == ("dog", "hex nut") and found.truth.objects.labels.tolist() == [1, 0, 1]
    assert found.truth.objects.boxes.tolist() == [[10, 5, 30, 15]] * 3
    assert found.truth.image_ids == ("000000_a", "000001_a", "000002")
    assert found.name_object(1) == "row 1 (000001_a.png), object 0 (dog)"
    assert found.paths[2] == tmp_path / "detkit_images/train/000002.png" and found.paths[2].read_bytes() == png(9)
    assert read_hf_saved_split(tmp_path, "train").faults == ()
    assert read_hf_saved_split(tmp_path, "validation").truth.image_ids == ("000000_b_(1)",)
    with pytest.raises(DatasetMissing, match="split 'test' is not in what datasets saved; splits there: train, val"):
        read_hf_saved_split(tmp_path, "test")


def test_a_single_split_and_rows_that_are_errors(tmp_path: Path) -> None:
    root = saved(tmp_path / "set", row("a.png", 7), row("b.png", data=b"text"), row("c.png"))
    assert find_hf_saved_splits(root) == ("all",)
    found = read_hf_saved_split(root, "all")
    assert found.truth.image_ids == ("000000_a", "000002_c") and found.truth.counts.tolist() == [0, 1]
    assert "row 0 (000000_a.png), object 0: category: is 7, expected 0..1" in " ".join(errors(found))
    assert "row 1: image: is no image that can be read" in errors(found)[0]
    (root / "data-00001.arrow").write_bytes(b"junk" * 100)
    assert any("cannot be read (" in message for message in errors(read_hf_saved_split(root, "all")))


def test_arrow_files_with_changed_bytes_are_errors_and_end_nothing(tmp_path: Path) -> None:
    root = saved(tmp_path / "set", row("a.png"), row("b.png"))
    whole = (root / "data-00000.arrow").read_bytes()
    for end in range(0, len(whole), 97):
        (root / "data-00000.arrow").write_bytes(whole[:end] + b"\xff" * 8 + whole[end + 8 :])
        read_hf_saved_split(root, "all")
        (root / "data-00000.arrow").write_bytes(whole[:end])
        read_hf_saved_split(root, "all")
    (root / "data-00000.arrow").write_bytes(whole)
    assert errors(read_hf_saved_split(root, "all")) == []


def test_parquet_files_of_the_hub(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "data").mkdir()
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    for shard in range(2):
        table = arrow.Table.from_pylist([row(f"{shard}.png")]).replace_schema_metadata(metadata)
        parquet.write_table(table, tmp_path / f"data/train-0000{shard}-of-00002.parquet")
    table = arrow.Table.from_pylist([{"image": {"bytes": None, "path": "/gone/a.png"}, "objects": None}])
    parquet.write_table(table, tmp_path / "data/test-00000-of-00001-0123abcd.parquet")
    assert find_hf_saved_splits(tmp_path) == ("test", "train")
    found = read_hf_saved_split(tmp_path, "train")
    assert errors(found) == [] and found.truth.classes == ("hex nut",)
    assert found.truth.image_ids == ("000000_0", "000001_1")
    assert "row 0: image: has no bytes, and '/gone/a.png' is not in" in errors(read_hf_saved_split(tmp_path, "test"))[0]


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = described(tmp_path / "set")
    (root / "data-0.arrow").write_bytes(b"")
    monkeypatch.setattr(hf_saved, "find_spec", lambda name: None)
    assert find_hf_saved_splits(root) == ("all",)
    assert errors(read_hf_saved_split(root, "all")) == [f"{root}: needs pyarrow; install detkit[hf]"]


def test_files_and_splits_that_are_named_and_not_there_are_errors(tmp_path: Path) -> None:
    described(tmp_path / "train")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test", "../up", 7]}')
    assert find_hf_saved_splits(tmp_path) == ("test", "train")
    for split, name in (("train", "data-0.arrow"), ("test", "state.json")):
        (message,) = errors(read_hf_saved_split(tmp_path, split))
        assert message == f"{tmp_path / split}: {name} is not there; save the data set anew"
    (tmp_path / "train/state.json").write_text('{"_data_files": [{"filename": "../../x.arrow"}]}')
    assert "../../x.arrow is not there" in errors(read_hf_saved_split(tmp_path, "train"))[0]


def test_other_data_sets_are_not_of_this_form(tmp_path: Path) -> None:
    described(tmp_path / "text", {"text": {"dtype": "string"}})
    assert find_hf_saved_splits(tmp_path / "text") == ()
    (tmp_path / "dataset_dict.json").write_text("[1")
    assert find_hf_saved_splits(tmp_path) == find_hf_saved_splits(tmp_path / "none") == ()
