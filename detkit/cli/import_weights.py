"""Turn weights of other tools into files of detkit.

Detectors to detect with, classification networks to train from.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from detkit.cli.command import Command

EXAMPLE = """examples:
  detkit import-weights model_final_f97cb7.pkl --out r50_c4.pt
  detkit import-weights model_final.pth --classes cat,dog --out pets.pt
  detkit import-weights R-50.pkl --out r50.pt
  detkit import-weights model.safetensors --name resnext50_32x4d --out resnext50.pt
  detkit import-weights faster_rcnn_1_10_14657.pth --out r101.pt data.short_side=800 data.long_side=1200

What a file holds is told by its content; no code in it is run."""


def add_arguments(parser: ArgumentParser) -> None:
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


def run(arguments: Namespace) -> int:
    from detkit.commands.import_weights import import_weights

    print(import_weights(arguments.weights, arguments.out, arguments.classes, arguments.name, arguments.overrides))
    return 0


COMMAND = Command("import-weights", __doc__, EXAMPLE, add_arguments, run, intermixed=True)
