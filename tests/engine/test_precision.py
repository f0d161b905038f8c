"""Which precision is taken on devices that are described, not there."""

from pathlib import Path

import pytest
import torch

from detkit.engine.precision import fast_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu avx2 avx512f amx_bf16 avx512_fp16 amx_tile amx_int8", "bf16"), ("fpu avx2 avx512f avx512_bf16", "fp32")],
)
def test_a_processor_by_its_flags(tmp_path: Path, flags: str, precision: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n")
    assert fast_precision(CPU, cpuinfo) == precision


def test_a_system_that_does_not_list_flags(tmp_path: Path) -> None:
    assert fast_precision(CPU, tmp_path / "cpuinfo") == "fp32"


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_that_only_emulates_bf16_takes_fp32(
    monkeypatch: pytest.MonkeyPatch, native: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert fast_precision(GPU) == precision
