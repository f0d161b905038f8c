"""Whether there is a GPU, asked of torch only where one could be: importing it takes seconds."""

import sys
from pathlib import Path

# What the drivers of NVIDIA, of AMD and of Windows' Linux put there; without one of them torch finds no GPU.
_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu")


def has_gpu() -> bool:
    """As torch.cuda.is_available() says."""
    if sys.platform == "darwin" or (sys.platform == "linux" and not any(Path(device).exists() for device in _DEVICES)):
        return False
    import torch

    return torch.cuda.is_available()
