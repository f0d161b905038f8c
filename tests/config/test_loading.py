"""The configuration: files, bases, overrides, and errors that name the key."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.config.data import FolderData
from detkit.config.loading import ConfigError, differing_keys, load_config, merge, parse_config
from detkit.config.schema import Config
from detkit.config.train import AdamW

FOLDER = Path(__file__).parents[2] / "configs"
FILES_THERE = sorted(FOLDER.rglob("*.yaml"))
BASES = [path for path in FILES_THERE if path.read_text().startswith("# Base")]  # parts of a config that others share
CONFIGS = [path for path in FILES_THERE if path not in BASES]


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def put(content: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """`content` with another value of a dotted key."""
    head, _, rest = key.partition(".")
    return content | {head: put(content.get(head, {}), rest, value) if rest else value}


def complaint(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        parse_config(content, "here.yaml")
    return str(error.value)


# Files, bases and overrides


def test_a_file_is_read_with_its_defaults(tiny_file: Path) -> None:
    config = load_config(tiny_file)
    assert config.train.steps == 4
    assert config.data.augment.horizontal_flip == 0.5  # not in the file


def test_a_file_goes_over_its_bases(tmp_path: Path, tiny: dict[str, Any]) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, "ground.yaml", tiny)
    write(tmp_path, "middle.yaml", {"base": "ground.yaml", "train": {"steps": 7, "lr": 0.5}})
    path = write(tmp_path / "deep", "top.yaml", {"base": "../middle.yaml", "train": {"lr": 0.25}})
    train = load_config(path).train
    assert (train.steps, train.lr, train.batch_size) == (7, 0.25, 2)


def test_a_section_of_another_kind_replaces_the_old_one_whole(tmp_path: Path, tiny: dict[str, Any]) -> None:
    write(tmp_path, "base.yaml", put(tiny, "train.optimizer", {"kind": "sgd", "momentum": 0.5, "weight_decay": 0.25}))
    same = write(tmp_path, "same.yaml", {"base": "base.yaml", "train": {"optimizer": {"momentum": 0.75}}})
    other = write(tmp_path, "other.yaml", {"base": "base.yaml", "train": {"optimizer": {"kind": "adamw"}}})
    assert load_config(same).train.optimizer.model_dump() == {
        "kind": "sgd",
        "momentum": 0.75,
        "weight_decay": 0.25,
        "bias_rate": 1.0,
        "decay_norm_and_bias": True,
        "new_layer_rate": 1.0,
    }
    assert load_config(other).train.optimizer == AdamW(kind="adamw")
    assert load_config(same, ["train.optimizer.kind=adamw"]).train.optimizer == AdamW(kind="adamw")


def test_two_ways_to_train_are_of_one_section(tmp_path: Path, tiny: dict[str, Any]) -> None:
    write(tmp_path, "base.yaml", put(tiny, "train.kind", "joint"))
    other = write(tmp_path, "other.yaml", {"base": "base.yaml", "train": {"kind": "alternating"}})
    assert load_config(other).train == load_config(tmp_path / "base.yaml").train.model_copy(
        update={"kind": "alternating"}
    )


def test_merging_leaves_its_parts_as_they_were() -> None:
    below, above = {"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}, "d": None}
    assert merge(below, above) == {"a": {"b": 1, "c": [3]}, "d": None}
    assert (below, above) == ({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}, "d": None})


def test_overrides_apply_in_order(tiny_file: Path) -> None:
    overrides = ["train.lr=0.5", "train.optimizer.kind=adamw", "train.optimizer.bias_rate=2.0", "train.lr=1e-3"]
    train = load_config(tiny_file, overrides).train
    assert train.lr == 0.001
    assert train.optimizer == AdamW(kind="adamw", bias_rate=2.0)


def test_overrides_read_lists_and_null(tiny_file: Path) -> None:
    config = load_config(tiny_file, ["data.train=[train,val]", "train.ema=0.5", "train.ema=null", "train.clip_norm=3"])
    assert isinstance(config.data, FolderData)
    assert config.data.train == ("train", "val")
    assert (config.train.ema, config.train.clip_norm) == (None, 3.0)


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-03"])
def test_numbers_as_people_write_them(tmp_path: Path, tiny: dict[str, Any], text: str) -> None:
    path = write(tmp_path, "a.yaml", yaml.safe_dump(put(tiny, "train.lr", "HERE")).replace("HERE", text))
    assert load_config(path).train.lr == 0.001


def test_the_batch_the_rate_is_for_is_that_of_the_file(tiny_file: Path) -> None:
    assert load_config(tiny_file).train.lr_batch == 2
    scaled = load_config(tiny_file, ["train.batch_size=8"]).train
    assert (scaled.batch_size, scaled.lr_batch) == (8, 2)
    assert load_config(tiny_file, ["train.batch_size=8", "train.lr_batch=4"]).train.lr_batch == 4


# Files that cannot be used


def test_files_that_are_based_on_each_other(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", {"base": "b.yaml"})
    write(tmp_path, "b.yaml", {"base": "a.yaml"})
    with pytest.raises(ConfigError, match=r"a\.yaml: its `base` files lead back to itself"):
        load_config(tmp_path / "a.yaml")


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, "faster_rcnn.yaml", {})
    write(tmp_path, "voc.yaml", {"base": "fastr_rcnn.yaml"})
    for path in (tmp_path / "fastr_rcnn.yaml", tmp_path / "voc.yaml"):
        with pytest.raises(ConfigError, match=r"no such config, did you mean .*/faster_rcnn\.yaml\?"):
            load_config(path)


@pytest.mark.parametrize(
    "text",
    ["train: [1, 2", "a: 1\na: 2\n", "- a\n- b\n", "just words", "\tx: 1", "train: {lr: ${nowhere}}", b"\xff\xfe\x00a"],
)
def test_what_is_no_yaml_mapping(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError, match=r"a\.yaml"):
        load_config(path)


def test_values_of_yaml_that_json_has_not(tmp_path: Path, tiny: dict[str, Any]) -> None:
    path = write(tmp_path, "a.yaml", put(tiny, "data.root", b"bytes"))
    with pytest.raises(ConfigError, match="bytes"):
        load_config(path)


def test_an_empty_file_misses_its_sections(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data: Field required; model: Field required; train: Field required"):
        load_config(write(tmp_path, "a.yaml", ""))


@pytest.mark.parametrize("override", ["train.lr", "=1", "train.lr=[1", ""])
def test_overrides_that_are_none(tiny_file: Path, override: str) -> None:
    with pytest.raises(ConfigError, match="override"):
        load_config(tiny_file, [override])


# Keys and values that cannot be


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("modle", "model"),
        ("data.shortside", "short_side"),
        ("data.augment.horizontal_flips", "horizontal_flip"),
        ("model.bakbone", "backbone"),
        ("model.backbone.dept", "depth"),
        ("model.pool.sampeling", "sampling"),
        ("model.rpn.channel", "channels"),
        ("model.head.nms_uoi", "nms_iou"),
        ("train.step", "steps"),
        ("train.optimizer.momentun", "momentum"),
        ("train.schedule.drop", "drops"),
    ],
)
def test_a_wrong_key_is_told_with_the_nearest(tiny: dict[str, Any], key: str, nearest: str) -> None:
    assert complaint(put(tiny, key, 1)).startswith(
        f"here.yaml: {key}: unknown key, did you mean {nearest}?; known here:"
    )


def test_keys_of_another_kind_are_unknown(tiny: dict[str, Any]) -> None:
    content = put(tiny, "train.optimizer", {"kind": "adamw", "momentum": 0.9})
    known = "bias_rate, decay_norm_and_bias, kind, new_layer_rate, weight_decay"
    assert complaint(content) == f"here.yaml: train.optimizer.momentum: unknown key; known here: {known}"


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("train.lr", "fast", ("valid number", "'fast'")),
        ("train.lr", 0, ("greater than 0", "0")),
        ("train.lr", float("inf"), ("finite", "inf")),
        ("train.steps", 2.5, ("integer", "2.5")),
        ("train.steps", True, ("integer", "True")),
        ("train.steps", "4", ("integer", "'4'")),
        ("train.precision", "fp8", ("'auto', 'fp32', 'bf16' or 'fp16'", "'fp8'")),
        ("train.ema", 1.0, ("less than 1", "1.0")),
        ("train.optimizer.momentum", 1.5, ("less than or equal to 1", "1.5")),
        ("train.optimizer.momentum", float("nan"), ("less than or equal to 1", "nan")),
        ("train.schedule.drops", 3, ("array", "3")),
        ("train.optimizer", {"kind": "sgb"}, ("'sgd', 'adamw'", "sgb")),
        ("train.optimizer", {}, ("kind", "{}")),
        ("train.batch_size", 0, ("greater than 0", "0")),
        ("data.root", 2007, ("string", "2007")),
        ("data.train", [], ("at least 1 item", "[]")),
        ("data.augment.safe_crop", -0.5, ("greater than or equal to 0", "-0.5")),
        ("model.backbone.depth", 20, ("18, 34, 50, 101 or 152", "20")),
        ("model.rpn.positive_iou", 1.5, ("less than or equal to 1", "1.5")),
        ("model.rpn.across_border", "maybe", ("boolean", "'maybe'")),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(
    tiny: dict[str, Any], key: str, value: object, parts: tuple[str, ...]
) -> None:
    message = complaint(put(tiny, key, value))
    assert message.startswith(f"here.yaml: {key}: ")
    for part in parts:
        assert part in message


def test_a_value_inside_a_list_is_named_by_its_place(tiny: dict[str, Any]) -> None:
    assert "model.rpn.sizes.1: " in complaint(put(tiny, "model.rpn.sizes", [16, "big"]))


def test_values_that_do_not_fit_together(tiny: dict[str, Any]) -> None:
    assert "batch_size 2 is not a multiple of accumulate 3" in complaint(put(tiny, "train.accumulate", 3))
    assert "scale_jitter is (least, most)" in complaint(put(tiny, "data.augment.scale_jitter", [2.0, 1.0]))


FILES = {"kind": "files", "files": ["a.sqlite"]}
OTHERS: dict[str, dict[str, Any]] = {
    "fast_rcnn": {"kind": "fast_rcnn", "pool": {"kind": "roi_pool"}, "proposals": FILES},
    "rcnn": {"kind": "rcnn", "proposals": FILES, "head": {}},
    "sppnet": {"kind": "sppnet", "proposals": FILES, "head": {}},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_only_a_faster_rcnn_is_trained_in_alternation(tiny: dict[str, Any], kind: str) -> None:
    assert parse_config(put(tiny, "train.kind", "alternating"), "").train.kind == "alternating"
    tiny["model"] = OTHERS[kind] | {"backbone": tiny["model"]["backbone"]}
    assert parse_config(tiny, "").model.kind == kind
    message = complaint(put(tiny, "train.kind", "alternating"))
    assert f"train.kind alternating is for a faster_rcnn, model.kind is {kind}" in message


def test_the_context_must_leave_room_for_the_box(tiny: dict[str, Any]) -> None:
    tiny["model"] = OTHERS["rcnn"] | {"backbone": tiny["model"]["backbone"], "crop_side": 33}
    assert parse_config(put(tiny, "model.context", 16), "").model.kind == "rcnn"  # a pixel is left
    message = complaint(put(tiny, "model.context", 17))
    assert "context 17 px on each side leaves nothing of a crop of 33 px" in message


@pytest.mark.parametrize(
    ("kind", "key", "value", "parts"),
    [
        ("sppnet", "model.levels", [], ("at least 1 item", "[]")),
        ("sppnet", "model.scales", {"sides": []}, ("at least 1 item", "[]")),
        ("sppnet", "model.noc", {"fcs": 1}, ("greater than or equal to 2", "1")),
        ("fast_rcnn", "model.noc", {"convs": 4}, ("less than or equal to 3", "4")),
        ("fast_rcnn", "model.scales", {"sides": [600], "combine": "mean"}, ("'nearest' or 'maxout'", "'mean'")),
        ("fast_rcnn", "model.proposals", {"kind": "files", "files": []}, ("at least 1 item", "[]")),
        ("fast_rcnn", "model.proposals", {"kind": "edge_boxs"}, ("'edge_boxes'", "edge_boxs")),
        ("rcnn", "model.svm", {"c": 0}, ("greater than 0", "0")),
        ("rcnn", "model.regression", {"features": "fc6"}, ("'pool5' or 'fc7'", "'fc6'")),
        ("rcnn", "model.scales", {"sides": [600]}, ("unknown key",)),
        ("rcnn", "train.alternating_steps", [1, 2, 3], ("train.alternating_steps",)),
    ],
)
def test_a_wrong_value_of_the_other_systems(
    tiny: dict[str, Any], kind: str, key: str, value: object, parts: tuple[str, ...]
) -> None:
    tiny["model"] = OTHERS[kind] | {"backbone": tiny["model"]["backbone"]}
    message = complaint(put(tiny, key, value))
    for part in (key, *parts):
        assert part in message


def test_a_missing_key_is_named(tiny: dict[str, Any]) -> None:
    del tiny["train"]["optimizer"]
    assert complaint(tiny) == "here.yaml: train.optimizer: Field required"


# Comparing and writing


def test_keys_that_differ(tiny: dict[str, Any]) -> None:
    one = parse_config(tiny, "")
    assert differing_keys(one, one) == []
    changed = put(put(tiny, "train.ema", 0.5), "model.rpn.sizes", [8])
    assert differing_keys(one, parse_config(changed, "")) == ["model.rpn.sizes", "train.ema"]
    adam = parse_config(put(tiny, "train.optimizer", {"kind": "adamw", "weight_decay": 5e-4}), "")
    assert differing_keys(one, adam) == [
        "train.optimizer.decay_norm_and_bias",
        "train.optimizer.kind",
        "train.optimizer.momentum",
    ]


@settings(max_examples=25, deadline=None)
@given(
    classes=st.lists(
        st.one_of(
            st.text(max_size=8).filter(str.isprintable),
            st.sampled_from(["no", "1e-3", "2007", "${a}", "${", "~", "a: b"]),
        )
    ),
    lr=st.floats(min_value=1e-300, max_value=1e300),
)
def test_what_is_written_reads_back_the_same(classes: list[str], lr: float) -> None:
    content = {
        "data": {"kind": "voc", "root": "a b", "classes": classes, "train": ["t"], "test": []},
        "model": {"kind": "faster_rcnn", "backbone": {"kind": "resnet"}, "pool": {"kind": "roi_pool"}},
        "train": {
            "steps": 1,
            "batch_size": 1,
            "lr": lr,
            "optimizer": {"kind": "sgd"},
            "schedule": {"kind": "cosine"},
        },
    }
    config = parse_config(content, "")
    text = config.to_yaml()
    assert parse_config(yaml.safe_load(text), "written") == config


def test_a_written_config_is_a_config_file(tmp_path: Path, tiny_file: Path) -> None:
    config = load_config(tiny_file, ["train.batch_size=4"])
    assert load_config(write(tmp_path, "written.yaml", config.to_yaml())) == config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_config_of_the_repository_loads(path: Path) -> None:
    assert isinstance(load_config(path), Config)


def test_there_are_configs_and_every_base_is_one_of_some() -> None:
    assert len(CONFIGS) > 3
    named = {
        path.parent / line.split()[1]
        for path in FILES_THERE
        for line in path.read_text().splitlines()
        if line.startswith("base:")
    }
    assert set(BASES) <= named
