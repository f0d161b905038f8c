"""Turn weights of other tools into files of detkit: detectors to detect with, classification networks to train from."""

import argparse
from pathlib import Path

from detkit.commands.import_weights import import_weights
from detkit.runtime.console import run_tool

EXAMPLE = """examples:
  python tools/import_weights.py model_final_f97cb7.pkl --out r50_c4.pt
  python tools/import_weights.py model_final.pth --classes cat,dog --out pets.pt
  python tools/import_weights.py R-50.pkl --out r50.pt
  python tools/import_weights.py model.safetensors --name resnext50_32x4d --out resnext50.pt
  python tools/import_weights.py faster_rcnn_1_10_14657.pth --out r101.pt data.short_side=800 data.long_side=1200

What a file holds is told by its content; no code in it is run."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, help="a .pkl, .pth, .pt, .safetensors or .caffemodel")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="changes to a detector's config for what its file does not tell, such as model.head.nms_iou=0.5",
    )
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--classes", type=lambda names: names.split(","), help="names, in the order of the outputs")
    parser.add_argument("--name", help="what timm calls a classification network that is not known by its tensors")
    arguments = parser.parse_intermixed_args()
    print(import_weights(arguments.weights, arguments.out, arguments.classes, arguments.name, arguments.overrides))
    return 0


if __name__ == "__main__":
    run_tool(main)
