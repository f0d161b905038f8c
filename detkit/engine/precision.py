"""The precision a step is computed in, and the faster one of a device that has it."""

from pathlib import Path
from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "fp16"]
CPUINFO = Path("/proc/cpuinfo")  # Linux; elsewhere a processor counts as one without AMX


def fast_precision(device: torch.device, cpuinfo: Path = CPUINFO) -> Precision:
    """bf16 on what multiplies matrices in it: a GPU from Ampere on, a CPU with AMX. fp32 on all else.

    fp16 is never taken: it needs its losses scaled, and may still overflow. `cpuinfo`: where the kernel lists what the
    processor has; it lists AMX only where programs may use it.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text().split()
    return "bf16" if has_bf16 else "fp32"
