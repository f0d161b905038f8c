#!/usr/bin/env bash
# PyYAML reads 1e-3 as a string and OmegaConf as a number; both read 12:30:00 as 45000.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    pyyaml==6.0.4 omegaconf==2.4.0
"$folder/bin/python" - <<'END'
from importlib.metadata import version

import yaml
from omegaconf import OmegaConf

print("PyYAML", version("pyyaml"), "OmegaConf", version("omegaconf"))
EXPECTED = {  # text: what PyYAML makes of it, what OmegaConf does
    "1e-3": ("1e-3", 0.001),
    "1.0e-3": (0.001, 0.001),
    "1e3": ("1e3", 1000.0),
    "12:30:00": (45000, 45000),
    "014": (12, 12),
    "1_000": (1000, 1000),
}
for text, expected in EXPECTED.items():
    found = (yaml.safe_load(f"key: {text}")["key"], OmegaConf.create(f"key: {text}")["key"])
    print(f"{text:8} PyYAML {found[0]!r:8} OmegaConf {found[1]!r}")
    assert found == expected and [*map(type, found)] == [*map(type, expected)]
END
