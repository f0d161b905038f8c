"""What `detkit doctor` finds: all well here, and each thing that is known to break an installation."""

from pathlib import Path

import pytest

from detkit.cli.main import dispatch
from detkit.commands import doctor


def test_this_installation_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    findings = list(doctor.examine())
    assert [one for one in findings if not one.is_well and one.subject != "disk"] == []
    assert [one.subject for one in findings][-1] == "self-test"
    assert dispatch(["doctor", "--quick"]) == (0 if all(one.is_well for one in findings) else 1)
    assert "opencv-python-headless" in capsys.readouterr().out


@pytest.mark.parametrize("names", [(), ("opencv-python", "opencv-python-headless")])
def test_no_opencv_or_two(names: tuple[str, ...]) -> None:
    found = doctor.opencv_builds(names)
    assert not found.is_well and "install opencv-python-headless again" in found.text


def test_a_full_disk() -> None:
    assert not doctor.disk_space(Path("runs"), 1e8).is_well
    assert doctor.disk_space(Path("runs"), 1e11).is_well


def test_a_broken_library_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> str:
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(doctor, "_compiled_operators", broken)
    assert dispatch(["doctor", "--quick"]) == 1
    assert (
        "WRONG  torch with torchvision: RuntimeError: operator torchvision::nms does not exist\n"
        in capsys.readouterr().out
    )
