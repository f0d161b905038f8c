"""Vectors read back from files, against the network applied directly, and the room that the files take."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detkit.backbones.backbone import imagenet_rgb
from detkit.backbones.multi_scale import MultiScale
from detkit.data.formats.forms import Form
from detkit.data.formats.opening import open_form
from detkit.data.pipeline.prepare import Resize
from detkit.data.pipeline.proposal_file import ProposalFile, WithProposals
from detkit.ops.pooling import PyramidLevels, PyramidPool, RegionPool, WarpedCrop
from detkit.staged.candidates import CandidateRule
from detkit.staged.region_network import RegionNetwork, RegionTail
from detkit.staged.vectors import CropVectors, ImageSource, MapVectors, Vectors, half
from detkit.structures import Pyramid

CHANNELS, STRIDE = 4, 8
CROP_DIMS, MAP_DIMS = (16, 5), (40, 5)
HEADER = 400  # bytes of a file beyond its numbers, at most
RESIZE = Resize(60, 90)  # 128 x 96 px become 80 x 60, 96 x 128 become 60 x 80
ALL = slice(None)


@pytest.fixture(scope="module")
def dataset(voc_root: Path, tmp_path_factory: pytest.TempPathFactory) -> WithProposals:
    """Wide and tall images with 12 proposals each; the last, which has no object, without any."""
    images = open_form(Form("voc", voc_root, ()), ["train"], None)
    file = ProposalFile.create(tmp_path_factory.mktemp("proposals") / "a.sqlite", "drawn")
    rng = np.random.default_rng(0)
    for index, image_id in enumerate(images.image_ids):
        height, width = images.size(index)
        corner = rng.uniform(0, 0.5, (12, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.1, 0.5, (12, 2))], axis=1) * ([width, height] * 2)
        count = 12 if len(images.target(index).boxes) else 0
        file.write(image_id, boxes[:count].astype(np.float32), np.ones(count, np.float32), (height, width), 0.1)
    return WithProposals(images, [file], count=12)


def source(dataset: WithProposals, resize: Resize) -> ImageSource:
    return ImageSource(dataset, resize, CandidateRule(0.3, None, 0.2), torch.device("cpu"))


def _network(features: nn.Module, pool: RegionPool, to_pool5: nn.Module, width: int) -> RegionNetwork:
    torch.manual_seed(0)
    tail = RegionTail(to_pool5, nn.Sequential(nn.Flatten(), nn.Linear(width, 5)))
    return RegionNetwork(imagenet_rgb(), features, pool, tail, regions_at_once=5).eval()


def crop_network() -> RegionNetwork:
    convs = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(2))
    return _network(nn.Identity(), WarpedCrop(12, 2), convs, CROP_DIMS[0])


def map_network(factors: tuple[float, ...]) -> RegionNetwork:
    convs = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, stride=STRIDE, padding=1), nn.ReLU())
    pool: RegionPool = PyramidPool((3, 1), STRIDE)
    if len(factors) == 1:
        return _network(convs, pool, nn.Identity(), MAP_DIMS[0])
    return _network(MultiScale(convs, factors), PyramidLevels(pool, "nearest", 40.0), nn.Identity(), MAP_DIMS[0])


def direct(network: RegionNetwork, dataset: WithProposals, resize: Resize, index: int, boxes: Tensor) -> list[Tensor]:
    """pool5 and fc7 of boxes in px of the stored image, by each part of the network in turn; nothing is stored."""
    image = resize(dataset.read(index)).image[None]
    (height, width), (new_height, new_width) = dataset.size(index), image.shape[2:]
    features = network.features(network.preprocess(image, torch.tensor([[new_height, new_width]])))
    rows = [
        [0, x1 * new_width / width, y1 * new_height / height, x2 * new_width / width, y2 * new_height / height]
        for x1, y1, x2, y2 in boxes.tolist()
    ]
    pool5 = network.tail.to_pool5(network.pool(features, torch.tensor(rows).reshape(-1, 5)))
    return [pool5.flatten(1), network.tail.tail(pool5)]


def vectors_of(kind: str, dataset: WithProposals, folder: Path, from_pool5: bool) -> tuple[Vectors, RegionNetwork]:
    if kind == "crops":
        network = crop_network()
        of_images = source(dataset, Resize(None, 90))  # R-CNN cuts from the stored image
        return CropVectors(of_images, network, folder, from_pool5, CROP_DIMS, ["fc7", "regressed"]), network
    factors = (0.5, 1.0, 1.5) if kind == "maps of three sizes" else (1.0,)
    network = map_network(factors)
    return MapVectors(source(dataset, RESIZE), network, folder, from_pool5, factors, CHANNELS, STRIDE), network


KINDS = ("crops", "maps", "maps of three sizes")


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in kept(folder))


@pytest.mark.parametrize("from_pool5", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_what_is_read_is_what_the_network_gives(
    kind: str, from_pool5: bool, dataset: WithProposals, tmp_path: Path
) -> None:
    vectors, network = vectors_of(kind, dataset, tmp_path, from_pool5)
    learned = 0
    for index in (0, 3, 7):  # wide, tall, nothing in it
        vectors.prepare(index)
        found = vectors.source.candidates(index)
        learned += len(found.regressed)
        pool5, fc7 = direct(network, dataset, vectors.source.resize, index, found.boxes)
        assert len(fc7) == (0 if index == 7 else 14)
        # Half precision has 11 bits; where maps are stored, errors of all cells under a weight add up.
        close = {"atol": 0.01, "rtol": 2**-10}
        torch.testing.assert_close(vectors.fc7(index, ALL), fc7, **close)
        torch.testing.assert_close(vectors.fc7(index, slice(2)), fc7[:2], **close)
        expected = (pool5 if from_pool5 else fc7)[found.regressed]
        torch.testing.assert_close(vectors.regressed(index), expected, **close)
        assert vectors.regressed(index).dtype == vectors.fc7(index, ALL).dtype == torch.float32
        assert index == 7 or float(fc7.std()) > 0.1
    assert learned > 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_room_said_to_be_needed_is_what_is_written(kind: str, dataset: WithProposals, tmp_path: Path) -> None:
    vectors, _ = vectors_of(kind, dataset, tmp_path, from_pool5=True)
    needed = vectors.needed_bytes()
    assert disk(tmp_path) == 0 < needed
    for index in range(len(dataset)):
        if index == 3:  # of a stopped run, what is there counts no more
            assert needed - vectors.needed_bytes() <= disk(tmp_path)
        vectors.prepare(index)
    assert 0 <= disk(tmp_path) - needed <= HEADER * len(kept(tmp_path))
    assert vectors.needed_bytes() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_is_not_computed_again(kind: str, dataset: WithProposals, tmp_path: Path) -> None:
    vectors, network = vectors_of(kind, dataset, tmp_path, from_pool5=True)
    vectors.prepare(0)
    before = {path: path.stat().st_mtime_ns for path in kept(tmp_path)}
    network.preprocess = nn.Identity()  # takes one argument: any use would fail
    vectors.prepare(0)
    assert {path: path.stat().st_mtime_ns for path in kept(tmp_path)} == before
    with pytest.raises(TypeError):
        vectors.prepare(1)


@pytest.mark.parametrize("from_pool5", [True, False])
def test_only_what_is_still_wanted_is_kept(from_pool5: bool, dataset: WithProposals, tmp_path: Path) -> None:
    """When the SVMs are there, the regressors' vectors are all that a restart has to make."""
    of_images, network = source(dataset, Resize(None, 90)), crop_network()
    both, alone, svms = (
        CropVectors(of_images, network, tmp_path / name, from_pool5, CROP_DIMS, wanted)
        for name, wanted in (("both", ["fc7", "regressed"]), ("alone", ["regressed"]), ("svms", ["fc7"]))
    )
    assert alone.needed_bytes() + svms.needed_bytes() == both.needed_bytes()
    for index in (0, 7):
        for vectors in (both, alone, svms):
            vectors.prepare(index)
        torch.testing.assert_close(alone.regressed(index), both.regressed(index), atol=0.01, rtol=2**-10)
        torch.testing.assert_close(svms.fc7(index, ALL), both.fc7(index, ALL))
    assert sorted(path.name for path in (tmp_path / "alone").iterdir()) == ["regressed"]
    both.stores["fc7"].remove()
    assert len(both.regressed(0)) == len(of_images.candidates(0).regressed) > 0


def test_a_stored_map_belongs_to_its_own_image(dataset: WithProposals, tmp_path: Path) -> None:
    vectors, _ = vectors_of("maps", dataset, tmp_path, from_pool5=True)
    with pytest.raises(ValueError, match=f"no features of image {dataset.image_ids[2]}; extract them again"):
        vectors.fc7(2, ALL)


def test_a_pyramid_is_read_back_whole(dataset: WithProposals, tmp_path: Path) -> None:
    vectors, network = vectors_of("maps of three sizes", dataset, tmp_path, from_pool5=True)
    assert isinstance(vectors, MapVectors)
    vectors.prepare(0)
    stored, _ = vectors._read(0, torch.zeros(1, 4))
    made, size = vectors.source.maps(0, network)
    assert isinstance(stored, Pyramid) and isinstance(made, Pyramid)
    assert stored.factors == made.factors == (0.5, 1.0, 1.5) and size == (60, 80)
    for one, other in zip(stored.maps, made.maps, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=2**-10)


def test_half_precision_has_its_limits() -> None:
    values = torch.tensor([0.0, -65_504.0, 1 + 2**-11, 1e-9])
    assert half(values, "a").tolist() == [0.0, -65_504.0, 1.0, 0.0]
    assert half(values, "a").dtype == torch.float16 and half(torch.zeros(0, 3), "a").shape == (0, 3)
    with pytest.raises(ValueError, match=r"image a: features up to 7e\+04 do not fit half precision"):
        half(torch.tensor([1.0, -70_000.0]), "a")
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"image a: features up to .* do not fit half precision"):
            half(torch.tensor([1.0, wrong]), "a")
