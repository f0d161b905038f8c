"""The names that images get."""

from pathlib import Path

import pytest
from PIL import Image

from detkit.data.formats.writers.placing import ImageKey, safe_name, targets_of

SIZE = (6, 8)


def keys(root: Path, *names: str) -> list[ImageKey]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE[::-1]).save(root / name, format="PNG")
    return [ImageKey(root / name, SIZE) for name in names]


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (("a.png", "A.PNG", "sub/a.jpg"), ["a.png", "A_2.PNG", "a_3.jpg"]),
        (("x.png", "x.png.png", "x.JPG.png"), ["x.png", "x_png.png", "x_JPG.png"]),
        (("a b.png", "a_b.png", "a?b.png"), ["a_b.png", "a_b_2.png", "a_b_3.png"]),
        (("a_2.png", "a.png", "sub/a.png"), ["a_2.png", "a.png", "a_3.png"]),
        (("ü.v1.2.png", "-x.png", "...png"), ["ü.v1.2.png", "x.png", "unnamed.png"]),
        (("no suffix", "odd.dat"), ["no_suffix.png", "odd.png"]),
    ],
)
def test_names_are_safe_and_unique_without_their_suffix(tmp_path: Path, names: tuple[str], written: list[str]) -> None:
    targets = targets_of(keys(tmp_path, *names))
    assert [target.name for target in targets.values()] == written


def test_names_are_as_short_as_every_system_takes_them(tmp_path: Path) -> None:
    long = "名" * 80  # of three bytes each
    targets = targets_of(keys(tmp_path, f"{long}.png", f"sub/{long}.png"))
    assert [target.name for target in targets.values()] == ["名" * 60 + ".png", "名" * 60 + "_2.png"]
    assert safe_name("...") == safe_name("") == "unnamed"


def test_one_image_has_one_name_in_two_splits_but_two_where_a_split_has_it_twice(tmp_path: Path) -> None:
    (key,) = keys(tmp_path, "a.png")
    targets = targets_of([key, key, ImageKey(key.path, SIZE, 2)])
    assert [target.name for target in targets.values()] == ["a.png", "a_2.png"]
    assert [target.renamed for target in targets.values()] == [False, True]
