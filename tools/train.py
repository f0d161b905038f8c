"""Train a detector."""

import argparse
from pathlib import Path

import torch

from detkit.build.data import to_train_on
from detkit.commands.train import train
from detkit.config.loading import load_config
from detkit.data.formats.forms import find_form
from detkit.runtime.console import run_tool

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
EXAMPLE = """examples:
  python tools/train.py configs/demo.yaml
  python tools/train.py --data data/mine                      # a folder in the form of VOC, COCO or YOLO
  python tools/train.py configs/faster_rcnn_r50.yaml --data data/mine train.steps=20000
  python tools/train.py configs/faster_rcnn_r101.yaml data.root=data/VOCdevkit train.precision=bf16
  torchrun --nproc-per-node 8 -- tools/train.py configs/faster_rcnn_r101.yaml --run runs/eight_gpus

The -- keeps torchrun from taking --run for an option of its own.
A run goes on from its last checkpoint when the same command is given again."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CONFIG | key=value",
        help="a YAML file of configs/, and changes to it such as train.lr=0.01; with --data the file may be left out: "
        "own_data.yaml, or own_data_cpu.yaml where there is no GPU",
    )
    parser.add_argument("--data", type=Path, help="folder of images and annotations in place of the config's data")
    parser.add_argument("--form", choices=("voc", "coco", "yolo"), help="of --data (default: found out)")
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/<config>, or runs/<config>_<data>)")
    parser.add_argument("--fresh", action="store_true", help="delete what the folder holds of an earlier run")
    arguments = parser.parse_intermixed_args()
    files = [word for word in arguments.words if "=" not in word]
    overrides = [word for word in arguments.words if "=" in word]
    if len(files) > 1 or not (files or arguments.data):
        parser.error(f"one CONFIG, or --data DIR, is needed; got {' '.join(files) or 'none'}")
    config_file = Path(files[0]) if files else default_config()
    data, name = None, config_file.stem
    if arguments.data:
        form = find_form(arguments.data, arguments.form)
        # The same with and without a GPU: what comes next (eval, detect) need not ask which config was taken.
        data, name = to_train_on(form), f"{name.removesuffix('_cpu')}_{arguments.data.resolve().name}"
        chosen = f"; weights are chosen on {', '.join(data.val)}" if data.val else ""
        print(form.describe())
        print(f"training on {', '.join(data.train)}; testing on {', '.join(data.test) or 'nothing'}{chosen}")
    elif arguments.form:
        parser.error("--form says what --data is; there is no --data")
    train(load_config(config_file, overrides, data), arguments.run or Path("runs") / name, arguments.fresh)
    return 0


def default_config() -> Path:
    name = "own_data.yaml" if torch.cuda.is_available() else "own_data_cpu.yaml"
    print(f"no config named: {CONFIGS.name}/{name}")
    return CONFIGS / name


if __name__ == "__main__":
    run_tool(main)
