"""`detkit configs`: the list, and a config printed whole."""

from pathlib import Path

import pytest

from detkit.cli.main import dispatch
from detkit.config.loading import load_config
from detkit.config.packaged import config_names, find_config


def test_the_list_says_what_each_reproduces(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["configs"]) == 0
    output = capsys.readouterr().out
    assert all(f"{name}\n    " in output for name in config_names())
    assert "faster_rcnn_r101\n    Faster R-CNN on ResNet-101, VOC07+12: 76.4 mAP on VOC07 test" in output


def test_a_part_of_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["configs", "lineage/"]) == 0
    names = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert names == [name for name in config_names() if "lineage/" in name]


@pytest.mark.parametrize("name", ["demo", "own_data_cpu", "lineage/noc"])
def test_what_is_printed_is_the_config(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["configs", name]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(printed)
    assert load_config(tmp_path / "mine.yaml") == load_config(find_config(name))
    assert printed.startswith("# ")


def test_nothing_of_that_name() -> None:
    with pytest.raises(ValueError, match=r"faster_rcnn_r11: no file, and no config .* did you mean faster_rcnn_r"):
        dispatch(["configs", "faster_rcnn_r11"])
