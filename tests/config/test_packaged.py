"""Configs by their names: which there are, what a name stands for, and the nearest one."""

from pathlib import Path

import pytest

from detkit.config.packaged import config_folder, config_names, find_config, summary_of


def test_names_are_those_that_train_something() -> None:
    names = config_names()
    assert {"demo", "faster_rcnn_r101", "lineage/rcnn", "own_data"} <= set(names)
    assert not {"voc07", "coco2017", "lineage/base"} & set(names)
    assert names == sorted(names)


def test_a_name_is_a_file_of_the_folder() -> None:
    assert find_config("lineage/rcnn") == config_folder() / "lineage" / "rcnn.yaml"


def test_a_file_of_the_user_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text("model: {}\n")
    assert find_config("demo") == Path("demo")
    (tmp_path / "mine.yaml").write_text("model: {}\n")
    assert find_config(tmp_path / "mine.yaml") == tmp_path / "mine.yaml"
    with pytest.raises(ValueError, match=r"min\.yaml: no such config; did you mean .*mine\.yaml\?"):
        find_config(tmp_path / "min.yaml")
    with pytest.raises(ValueError, match=r"configs/demo\.yaml: no such config; .* called by its name alone: demo$"):
        find_config("configs/demo.yaml")  # as it is called in a checkout


def test_a_name_that_is_none_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean faster_rcnn_vgg16"):
        find_config("faster_rcnn_vgg61")
    with pytest.raises(ValueError, match="`detkit configs` lists"):
        find_config("zzzz")


def test_the_summary_is_the_first_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("# As He et al. 2016 have it, with\n# 2.5 times the rate. And more.\nmodel: {}\n")
    assert summary_of(file) == "As He et al. 2016 have it, with 2.5 times the rate"
    file.write_text("model: {}\n")
    assert summary_of(file) == ""
