"""A GPU is asked of torch only where a driver's device is there, and then answered as torch does."""

from pathlib import Path

import pytest

from detkit.runtime import gpu


@pytest.mark.parametrize(
    ("is_there", "torch_says", "expected"), [(False, True, False), (True, True, True), (True, False, False)]
)
def test_a_device_and_torch(
    is_there: bool, torch_says: bool, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "nvidiactl"
    if is_there:
        device.touch()
    monkeypatch.setattr(gpu, "_DEVICES", (str(tmp_path / "kfd"), str(device)))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("torch.cuda.is_available", lambda: torch_says)
    assert gpu.has_gpu() is expected


def test_as_torch_says_here() -> None:
    import torch

    assert gpu.has_gpu() == torch.cuda.is_available()
