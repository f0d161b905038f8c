"""Write one small data set through public tools into the forms they write: what the readers are tested on.

    python make_exports.py source OUT [--small]     images and truth.json, below OUT/source and OUT
    python make_exports.py TOOL OUT [--small]       OUT/TOOL/FORM for each form, in an environment with that tool
    python make_exports.py collect OUT              the forms that are committed, to the folder of this file

README.md beside this file names the versions that wrote the committed files.
"""

import argparse
import csv
import json
import os
import shutil
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

WIDTH, HEIGHT = 160, 120
CLASSES = ("bolt", "hex nut", "washer")
COLOURS = ((200, 40, 40), (40, 160, 60), (50, 70, 210))


@dataclass(frozen=True)
class Object:
    label: int
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in px, continuous, 0-based
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return CLASSES[self.label]

    @property
    def xywh(self) -> list[float]:
        x1, y1, x2, y2 = self.box
        return [x1, y1, x2 - x1, y2 - y1]

    @property
    def relative_xywh(self) -> list[float]:
        x, y, w, h = self.xywh
        return [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]

    def has(self, flag: str) -> bool:
        return flag in self.flags


ALL: dict[str, dict[str, list[Object]]] = {
    "train": {
        "t0.png": [Object(0, (10.25, 12.5, 50.75, 47.5)), Object(1, (60.5, 20.125, 99.875, 80.0))],
        "t1.jpg": [Object(2, (0.0, 0.0, 40.5, 30.25))],  # at the corner
        "t2.png": [Object(1, (100.4, 60.6, 160.0, 120.0)), Object(1, (5.3, 70.7, 33.9, 111.1))],
        "t3.jpg": [],
        "t4.png": [
            Object(0, (8.5, 9.5, 40.5, 39.5), ("difficult",)),
            Object(1, (45.2, 10.1, 90.7, 50.9), ("crowd",)),
            Object(2, (0.0, 60.5, 30.5, 100.5), ("truncated",)),
            Object(0, (70.75, 60.25, 120.25, 110.75), ("occluded",)),
        ],
        "night/t5.png": [Object(2, (30.6, 40.4, 77.7, 88.8))],
    },
    "val": {
        "v0.jpg": [Object(0, (20.5, 20.5, 60.5, 60.5)), Object(2, (80.1, 30.2, 130.3, 90.4))],
        "v1.png": [Object(1, (12.0, 14.0, 52.0, 64.0))],  # whole pixels
        "v2.jpg": [],
    },
    "test": {
        "s0.png": [Object(2, (33.3, 22.2, 66.6, 44.4))],
        "s1.jpg": [Object(0, (90.5, 5.5, 155.5, 55.5)), Object(1, (15.9, 60.1, 65.1, 115.9))],
        "s2.png": [Object(1, (70.0, 40.5, 110.5, 90.0), ("truncated",))],
    },
}
SMALL = {"train": ("t0.png", "t3.jpg", "t4.png", "night/t5.png"), "val": ("v0.jpg",)}


class Set:
    """The data set, with its images below `out/source/SPLIT`."""

    def __init__(self, out: Path, small: bool) -> None:
        self.out = out.resolve()
        self.splits = (
            {split: {file: ALL[split][file] for file in files} for split, files in SMALL.items()} if small else ALL
        )

    def image(self, split: str, file: str) -> Path:
        return self.out / "source" / split / file

    def folder(self, *parts: str) -> Path:
        folder = self.out.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def fresh(self, *parts: str) -> Path:
        """Path of a form, with nothing in it."""
        shutil.rmtree(self.out.joinpath(*parts), ignore_errors=True)
        return self.folder(*parts)

    def flat(self, split: str) -> dict[str, list[Object]]:
        """By the path of the image."""
        return {str(self.image(split, file)): objects for file, objects in self.splits[split].items()}


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def source(data: Set) -> None:
    from PIL import Image, ImageDraw

    for number, (split, files) in enumerate(data.splits.items()):
        for index, (file, objects) in enumerate(files.items()):
            image = Image.new("RGB", (WIDTH, HEIGHT), (90 + 12 * index, 120 + 20 * number, 140))
            draw = ImageDraw.Draw(image)
            draw.rectangle((7 * index, 115, 7 * index + 5, 118), (250, 250, 250))
            for one in objects:
                draw.rectangle([round(value) for value in one.box], COLOURS[one.label])
            path = data.image(split, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".png":
                image.quantize(16).save(path, optimize=True)
            else:
                image.save(path, quality=30, optimize=True)
    write(
        data.out / "truth.json",
        {
            "classes": CLASSES,
            "size": {"width": WIDTH, "height": HEIGHT},
            "splits": {
                split: {file: [[one.name, *one.box, list(one.flags)] for one in found] for file, found in files.items()}
                for split, files in data.splits.items()
            },
        },
    )


def labelme(data: Set) -> None:
    from labelme._label_file import LabelFile

    def shapes(objects: list[Object], polygons: bool) -> list[dict]:
        found = []
        for one in objects:
            x1, y1, x2, y2 = one.box
            corners = [[x2, y2], [x1, y1]] if one.label == 1 else [[x1, y1], [x2, y2]]  # as the mouse was dragged
            if polygons:
                middle = (x1 + x2) / 2
                corners = [[x1, y2], [middle, y1], [x2, y2]]
            found.append(
                {
                    "label": one.name,
                    "points": corners,
                    "group_id": None,
                    "description": "",
                    "shape_type": "polygon" if polygons else "rectangle",
                    "flags": dict.fromkeys(one.flags, True),
                    "mask": None,
                }
            )
        return found

    for form, polygons, embedded, beside in (
        ("rectangles", False, False, True),
        ("imagedata", False, True, False),
        ("polygons", True, False, True),
    ):
        root = data.fresh("labelme", form)
        for split, files in data.splits.items():
            for file, objects in files.items():
                image = data.image(split, file)
                target = root / split / file
                target.parent.mkdir(parents=True, exist_ok=True)
                if beside:
                    copy(image, target)
                LabelFile().save(
                    filename=str(target.with_suffix(".json")),
                    shapes=shapes(objects, polygons),
                    image_path=target.name,
                    image_height=HEIGHT,
                    image_width=WIDTH,
                    image_data=LabelFile.load_image_file(str(image)) if embedded else None,
                    other_data={},
                    flags={},
                )


def datumaro(data: Set) -> None:
    import datumaro as dm

    items = [
        dm.DatasetItem(
            id=file.rpartition(".")[0],
            subset=split,
            media=dm.Image.from_file(path=str(data.image(split, file))),
            annotations=[
                dm.Bbox(
                    *one.xywh,
                    label=one.label,
                    id=number,
                    group=number,
                    attributes={
                        "difficult": one.has("difficult"),
                        "truncated": one.has("truncated"),
                        "occluded": one.has("occluded"),
                        "is_crowd": one.has("crowd"),
                    },
                )
                for number, one in enumerate(objects, 1)
            ],
        )
        for split, files in data.splits.items()
        for file, objects in files.items()
    ]
    dataset = dm.Dataset.from_iterable(items, categories=list(CLASSES), media_type=dm.Image)
    forms = ("datumaro", "voc", "voc_detection", "coco", "coco_instances", "yolo", "yolo_ultralytics", "open_images")
    for form in (*forms, "label_me", "cvat", "kitti_detection", "arrow", "datumaro_binary"):
        root = data.fresh("datumaro", form)
        shutil.rmtree(root)
        dataset.export(str(root), form, save_media=True)


def supervision(data: Set) -> None:
    import numpy as np
    import supervision as sv

    for form in ("coco", "voc", "yolo", "labelme", "createml"):
        data.fresh("supervision", form)
    for split in data.splits:
        found = {}
        for path, objects in data.flat(split).items():
            found[path] = sv.Detections(
                xyxy=np.array([one.box for one in objects], dtype=float).reshape(-1, 4),
                class_id=np.array([one.label for one in objects], dtype=int),
                data={"iscrowd": np.array([int(one.has("crowd")) for one in objects], dtype=int)},
            )
        save_supervision(sv.DetectionDataset(list(CLASSES), list(found), found), data.folder("supervision"), split)


def save_supervision(dataset: Any, root: Path, split: str) -> None:
    dataset.as_coco(f"{root}/coco/{split}", f"{root}/coco/{split}/_annotations.coco.json")
    dataset.as_pascal_voc(f"{root}/voc/{split}/images", f"{root}/voc/{split}/annotations")
    dataset.as_yolo(f"{root}/yolo/{split}/images", f"{root}/yolo/{split}/labels", f"{root}/yolo/data.yaml")
    dataset.as_labelme(f"{root}/labelme/{split}", f"{root}/labelme/{split}")
    createml = f"{root}/createml/{split}"
    dataset.as_createml(createml, f"{createml}/_annotations.createml.json")


def globox(data: Set) -> None:
    from globox import Annotation, AnnotationSet, BoundingBox

    forms = ("voc", "imagenet", "coco", "yolo_v5", "yolo_v7", "yolo_darknet", "labelme", "cvat", "openimage", "via")
    for form in forms:
        data.fresh("globox", form)
    label_to_id = {name: number for number, name in enumerate(CLASSES)}
    for split, files in data.splits.items():
        found = AnnotationSet(
            Annotation(file, (WIDTH, HEIGHT), [BoundingBox.create(label=one.name, coords=one.box) for one in objects])
            for file, objects in files.items()
        )
        for form in forms:
            folder = data.folder("globox", form, split)
            (folder / "night").mkdir()  # globox makes no folders for ids that have one
            save_globox(found, form, folder, label_to_id, data.out / "source" / split)
            if not any((folder / "night").iterdir()):
                (folder / "night").rmdir()
            for file in files:
                copy(data.image(split, file), folder / file)


def save_globox(found: Any, form: str, folder: Path, label_to_id: dict[str, int], images: Path) -> None:
    match form:
        case "voc":
            found.save_pascal_voc(folder)
        case "imagenet":
            found.save_imagenet(folder)
        case "coco":
            found.save_coco(folder / "annotations.json", auto_ids=True)
        case "yolo_v5":
            found.save_yolo_v5(folder, label_to_id=label_to_id)
        case "yolo_v7":
            found.save_yolo_v7(folder, label_to_id=label_to_id)
        case "yolo_darknet":
            found.save_yolo_darknet(folder, label_to_id=label_to_id)
        case "labelme":
            found.save_labelme(folder)
        case "cvat":
            found.save_cvat(folder / "annotations.xml")
        case "openimage":
            found.save_openimage(folder / "boxes.csv")
        case "via":
            found.save_via_json(folder / "via.json", image_folder=images)


def fiftyone(data: Set) -> None:
    """Its exporters, called one by one: a dataset of its own needs a database server."""
    import fiftyone as fo
    import fiftyone.utils.coco as coco
    import fiftyone.utils.cvat as cvat
    import fiftyone.utils.data as exporters
    import fiftyone.utils.kitti as kitti
    import fiftyone.utils.voc as voc
    import fiftyone.utils.yolo as yolo

    root = data.folder("fiftyone")
    names = list(CLASSES)
    forms = {
        "voc": lambda split: voc.VOCDetectionDatasetExporter(f"{root}/voc/{split}", export_media=True),
        "coco": lambda split: coco.COCODetectionDatasetExporter(
            f"{root}/coco/{split}", export_media=True, classes=names
        ),
        "yolov4": lambda split: yolo.YOLOv4DatasetExporter(f"{root}/yolov4/{split}", export_media=True, classes=names),
        "yolov5": lambda split: yolo.YOLOv5DatasetExporter(f"{root}/yolov5", split, export_media=True, classes=names),
        "cvat": lambda split: cvat.CVATImageDatasetExporter(f"{root}/cvat/{split}", export_media=True),
        "kitti": lambda split: kitti.KITTIDetectionDatasetExporter(f"{root}/kitti/{split}", export_media=True),
        "fiftyone": lambda split: exporters.FiftyOneImageDetectionDatasetExporter(
            f"{root}/fiftyone/{split}", export_media=True, classes=names
        ),
        "coco_folders": lambda split: coco.COCODetectionDatasetExporter(
            f"{root}/coco_folders/{split}", export_media=True, classes=names, rel_dir=str(data.out / "source" / split)
        ),
    }
    for form, exporter_of in forms.items():
        data.fresh("fiftyone", form)
        for split in data.splits:
            with exporter_of(split) as exporter:
                for path, objects in data.flat(split).items():
                    found = [
                        fo.Detection(
                            label=one.name,
                            bounding_box=one.relative_xywh,
                            **{"iscrowd" if flag == "crowd" else flag: 1 for flag in one.flags},
                        )
                        for one in objects
                    ]
                    size = fo.ImageMetadata(width=WIDTH, height=HEIGHT, num_channels=3)
                    exporter.export_sample(path, fo.Detections(detections=found), metadata=size)


PORT = 8765


def serve(folder: Path) -> None:
    """The images, for a tool that downloads them."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    Thread(target=ThreadingHTTPServer(("127.0.0.1", PORT), handler).serve_forever, daemon=True).start()


def label_studio(data: Set) -> None:
    from label_studio_sdk.converter import Converter

    config = (
        '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
        + "".join(f'<Label value="{name}"/>' for name in CLASSES)
        + "</RectangleLabels></View>"
    )
    serve(data.out / "source")
    for form in ("json", "coco", "coco_uploads", "voc", "yolo"):
        root = data.fresh("label_studio", form)
        for split, files in data.splits.items():
            tasks = []
            for number, (file, objects) in enumerate(files.items(), 1):
                results = [
                    {
                        "id": f"r{index}",
                        "type": "rectanglelabels",
                        "from_name": "label",
                        "to_name": "image",
                        "original_width": WIDTH,
                        "original_height": HEIGHT,
                        "image_rotation": 0,
                        "value": {
                            **dict(
                                zip(("x", "y", "width", "height"), [100 * v for v in one.relative_xywh], strict=True)
                            ),
                            "rotation": 0,
                            "rectanglelabels": [one.name],
                        },
                    }
                    for index, one in enumerate(objects)
                ]
                upload = f"/data/upload/1/{Path(file).name}"
                tasks.append(
                    {
                        "id": number,
                        "data": {"image": f"http://127.0.0.1:{PORT}/{split}/{file}" if form == "coco" else upload},
                        "annotations": [{"id": number, "result": results}],
                    }
                )
            if form == "json":
                for file in files:
                    copy(data.image(split, file), root / split / Path(file).name)
                write(root / split / "tasks.json", tasks)
                continue
            project = data.fresh("label_studio", "project")  # as the server keeps what was uploaded
            for file in files:
                copy(data.image(split, file), project / "upload" / "1" / Path(file).name)
            given = project / "tasks.json"
            write(given, tasks)
            converter = Converter(config, str(project), upload_dir=str(project / "upload"), download_resources=True)
            to = root / split
            call = {
                "coco": converter.convert_to_coco,
                "voc": converter.convert_to_voc,
                "yolo": converter.convert_to_yolo,
            }
            call[form.partition("_")[0]](str(given), str(to), is_dir=False)
            shutil.rmtree(project)


def sahi(data: Set) -> None:
    from sahi.utils.coco import Coco, CocoAnnotation, CocoCategory, CocoImage, export_coco_as_yolo

    sets = {}
    root = data.fresh("sahi", "coco")
    for split, files in data.splits.items():
        coco = Coco(name="parts", image_dir=str(data.out / "source" / split))
        for number, name in enumerate(CLASSES):
            coco.add_category(CocoCategory(number, name))
        for file, objects in files.items():
            image = CocoImage(file_name=file, height=HEIGHT, width=WIDTH)
            for one in objects:
                image.add_annotation(
                    CocoAnnotation(
                        bbox=one.xywh, category_id=one.label, category_name=one.name, iscrowd=int(one.has("crowd"))
                    )
                )
            coco.add_image(image)
            copy(data.image(split, file), root / split / file)
        write(root / f"{split}.json", coco.json)
        sets[split] = coco
    yolo = data.fresh("sahi", "yolo")
    export_coco_as_yolo(str(yolo), train_coco=sets["train"], val_coco=sets["val"], disable_symlink=True)


def pylabel(data: Set) -> None:
    from pylabel import importer

    source_json = data.folder("pylabel") / "source.json"
    for split, files in data.splits.items():
        annotations = [
            {"id": 100 * number + row, "image_id": number, "category_id": one.label, "bbox": one.xywh}
            | {"area": one.xywh[2] * one.xywh[3], "iscrowd": int(one.has("crowd")), "segmentation": []}
            for number, objects in enumerate(files.values())
            for row, one in enumerate(objects)
        ]
        images = [
            {"id": number, "file_name": Path(file).name, "width": WIDTH, "height": HEIGHT}
            for number, file in enumerate(files)
        ]
        categories = [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(CLASSES)]
        write(source_json, {"images": images, "annotations": annotations, "categories": categories})
        for form in ("coco", "voc", "yolov5"):
            to = data.fresh("pylabel", form, split)
            dataset = importer.ImportCoco(str(source_json), path_to_images="images", name=split)
            for file in files:
                copy(data.image(split, file), to / "images" / Path(file).name)
            if form == "coco":
                dataset.export.ExportToCoco(str(to / "annotations.json"))
            elif form == "voc":
                (to / "annotations").mkdir()
                dataset.export.ExportToVoc(str(to / "annotations"))
            else:
                here = Path.cwd()
                os.chdir(to)
                try:
                    dataset.export.ExportToYoloV5(output_path="labels", yaml_file="dataset.yaml")
                finally:
                    os.chdir(here)
    source_json.unlink()


def lvis(data: Set) -> None:
    """Written by hand, and opened by the package: it has readers only."""
    from lvis import LVIS

    root = data.fresh("lvis", "lvis_v1")
    number = image_number = 0
    for split, files in data.splits.items():
        images, annotations = [], []
        for file, objects in files.items():
            image_number += 1
            labels = {one.label for one in objects}
            images.append(
                {
                    "id": image_number,
                    "width": WIDTH,
                    "height": HEIGHT,
                    "license": 1,
                    "flickr_url": "",
                    "date_captured": "",
                    "coco_url": f"http://images.cocodataset.org/{split}/{file}",
                    "neg_category_ids": [label + 1 for label in range(3) if label not in labels][:1],
                    "not_exhaustive_category_ids": [one.label + 1 for one in objects if one.has("crowd")],
                }
            )
            copy(data.image(split, file), root / split / file)
            for one in objects:
                number += 1
                x1, y1, x2, y2 = one.box
                annotations.append(
                    {
                        "id": number,
                        "image_id": image_number,
                        "category_id": one.label + 1,
                        "bbox": one.xywh,
                        "area": one.xywh[2] * one.xywh[3],
                        "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                    }
                )
        categories = [
            {
                "id": label + 1,
                "name": name.replace(" ", "_"),
                "synset": f"{name.replace(' ', '_')}.n.01",
                "synonyms": [name.replace(" ", "_")],
                "def": "a part",
                "frequency": "rcf"[label],
                "image_count": 1,
                "instance_count": 1,
            }
            for label, name in enumerate(CLASSES)
        ]
        path = root / "annotations" / f"lvis_v1_{split}.json"
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
        write(path, content)
        assert len(LVIS(str(path)).get_ann_ids()) == len(annotations)


def datasets(data: Set) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value, load_dataset

    words = {"val": "validation"}

    def columns(objects: list[Object], key: str, names: bool, corners: bool) -> dict:
        boxes = [list(one.box) if corners else one.xywh for one in objects]
        return {"bbox": boxes, key: [one.name if names else one.label for one in objects]}

    def cppe5(first: int, objects: list[Object]) -> dict:
        """As the guide to fine-tuning DETR has it."""
        return {
            "id": [first + row for row in range(len(objects))],
            "area": [int(one.xywh[2] * one.xywh[3]) for one in objects],
            **columns(objects, "category", False, False),
        }

    rows_of = {
        "imagefolder_jsonl": lambda first, found: {"objects": columns(found, "categories", False, False)},
        "imagefolder_names": lambda first, found: {"objects": columns(found, "category", True, False)},
        "imagefolder_cppe5": lambda first, found: {"width": WIDTH, "height": HEIGHT, "objects": cppe5(first, found)},
        "imagefolder_columns": lambda first, found: columns(found, "label", True, True),
        "imagefolder_csv": lambda first, found: {"objects": json.dumps(columns(found, "categories", False, False))},
    }
    for form, row_of in rows_of.items():
        root = data.fresh("datasets", form)
        for split, files in data.splits.items():
            folder = root / words.get(split, split)
            rows, first = [], 0
            for file, objects in files.items():
                copy(data.image(split, file), folder / file)
                rows.append({"file_name": file, **row_of(first, objects)})
                first += len(objects)
            if form == "imagefolder_csv":
                with (folder / "metadata.csv").open("w", newline="") as stream:
                    table = csv.DictWriter(stream, list(rows[0]))
                    table.writeheader()
                    table.writerows(rows)
            else:
                (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.environ["HF_DATASETS_CACHE"] = str(data.out / "cache")
        for name, split_set in load_dataset(
            "imagefolder", data_dir=str(root), cache_dir=str(data.out / "cache")
        ).items():
            print("datasets", form, name, len(split_set), split_set.features)
    objects_type = {
        "id": List(Value("int64")),
        "area": List(Value("int64")),
        "bbox": List(List(Value("float32"), length=4)),
        "category": List(ClassLabel(names=list(CLASSES))),
    }
    features = Features(
        {
            "image_id": Value("int64"),
            "image": Image(),
            "width": Value("int32"),
            "height": Value("int32"),
            "objects": objects_type,
        }
    )
    sets, number = {}, 0
    for split, files in data.splits.items():
        rows, first = [], 0
        for file, objects in files.items():
            rows.append(
                {
                    "image_id": number,
                    "image": str(data.image(split, file)),
                    "width": WIDTH,
                    "height": HEIGHT,
                    "objects": cppe5(first, objects),
                }
            )
            number += 1
            first += len(objects)
        sets[words.get(split, split)] = Dataset.from_list(rows, features=features)
    DatasetDict(sets).save_to_disk(str(data.fresh("datasets", "saved_dict")))
    sets["train"].save_to_disk(str(data.fresh("datasets", "saved_split")))
    parquet = data.fresh("datasets", "parquet") / "data"
    parquet.mkdir()
    for name, split_set in sets.items():
        split_set.to_parquet(str(parquet / f"{name}-00000-of-00001.parquet"))
    shutil.rmtree(data.out / "cache", ignore_errors=True)


def roboflow(data: Set) -> None:
    """Written by hand, as Roboflow describes its exports: a folder a split, all names flat, ids from 0 in each."""
    words = {"val": "valid"}
    forms = ("coco", "voc", "yolov8", "darknet", "tensorflow_csv")
    roots = {form: data.fresh("roboflow", form) for form in forms}
    for split, files in data.splits.items():
        word = words.get(split, split)
        images, annotations, table = [], [], []
        for number, (file, objects) in enumerate(files.items()):
            path = Path(file)
            name = f"{path.stem}_{path.suffix[1:]}.rf.0123456789abcdef0123456789abcd{number:02d}{path.suffix}"
            for form, root in roots.items():
                copy(data.image(split, file), root / word / ("images" if form == "yolov8" else "") / name)
            images.append(
                {"id": number, "license": 1, "file_name": name, "height": HEIGHT, "width": WIDTH}
                | {"date_captured": "2024-05-06T07:08:09+00:00", "extra": {"name": path.name}}
            )
            lines, objects_xml = [], ""
            for one in objects:
                x, y, w, h = one.xywh
                annotations.append(
                    {"id": len(annotations), "image_id": number, "category_id": one.label + 1, "bbox": one.xywh}
                    | {"area": w * h, "segmentation": [], "iscrowd": 0}
                )
                fractions = ((x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT)
                lines.append(" ".join([str(one.label), *map(str, fractions)]))
                whole = [round(x) + 1, round(y) + 1, round(x + w), round(y + h)]
                table.append([name, WIDTH, HEIGHT, one.name, *whole])
                xmin, ymin, xmax, ymax = whole
                objects_xml += (
                    f"\t<object>\n\t\t<name>{one.name}</name>\n\t\t<pose>Unspecified</pose>\n"
                    f"\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n\t\t<occluded>0</occluded>\n"
                    f"\t\t<bndbox>\n\t\t\t<xmin>{xmin}</xmin>\n\t\t\t<xmax>{xmax}</xmax>\n"
                    f"\t\t\t<ymin>{ymin}</ymin>\n\t\t\t<ymax>{ymax}</ymax>\n\t\t</bndbox>\n\t</object>\n"
                )
            labels = roots["yolov8"] / word / "labels" / f"{name.rpartition('.')[0]}.txt"
            labels.parent.mkdir(exist_ok=True)
            labels.write_text("\n".join(lines))
            (roots["darknet"] / word / f"{name.rpartition('.')[0]}.txt").write_text("\n".join(lines))
            (roots["voc"] / word / f"{name.rpartition('.')[0]}.xml").write_text(
                f"<annotation>\n\t<folder></folder>\n\t<filename>{name}</filename>\n\t<path>{name}</path>\n"
                "\t<source>\n\t\t<database>roboflow.com</database>\n\t</source>\n"
                f"\t<size>\n\t\t<width>{WIDTH}</width>\n\t\t<height>{HEIGHT}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
                f"\t<segmented>0</segmented>\n{objects_xml}</annotation>\n"
            )
        categories = [{"id": 0, "name": "parts", "supercategory": "none"}]
        categories += [{"id": n, "name": name, "supercategory": "parts"} for n, name in enumerate(CLASSES, 1)]
        write(
            roots["coco"] / word / "_annotations.coco.json",
            {"info": {}, "licenses": [], "categories": categories, "images": images, "annotations": annotations},
        )
        (roots["darknet"] / word / "_darknet.labels").write_text("\n".join(CLASSES))
        with (roots["tensorflow_csv"] / word / "_annotations.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
            rows.writerows(table)
    names = ", ".join(f"'{name}'" for name in CLASSES)
    lines = [f"{split}: ../{words.get(split, split)}/images" for split in data.splits]
    (roots["yolov8"] / "data.yaml").write_text("\n".join([*lines, "", "nc: 3", f"names: [{names}]", ""]))


COMMITTED = {
    "labelme": "rectangles imagedata polygons",
    "datumaro": "datumaro voc coco_instances yolo yolo_ultralytics open_images cvat",
    "supervision": "coco voc yolo labelme",
    "globox": "voc coco yolo_v5 labelme cvat openimage",
    "fiftyone": "voc coco coco_folders yolov4 yolov5 cvat fiftyone",
    "label_studio": "coco coco_uploads voc yolo json",
    "sahi": "coco yolo",
    "pylabel": "coco voc yolov5",
    "lvis": "lvis_v1",
    "datasets": "imagefolder_jsonl imagefolder_names imagefolder_cppe5 imagefolder_csv imagefolder_columns saved_dict",
    "roboflow": "coco voc yolov8 darknet",
}


def collect(data: Set) -> None:
    here = Path(__file__).parent
    copy(data.out / "truth.json", here / "truth.json")
    for tool, forms in COMMITTED.items():
        for form in forms.split():
            to = here / (form if form.startswith(tool) else f"{tool}_{form}")
            shutil.rmtree(to, ignore_errors=True)
            shutil.copytree(data.out / tool / form, to)


TOOLS = {
    one.__name__: one
    for one in (
        source,
        labelme,
        datumaro,
        supervision,
        globox,
        fiftyone,
        label_studio,
        sahi,
        pylabel,
        lvis,
        datasets,
        roboflow,
        collect,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--small", action="store_true", help="five images, as committed")
    given = parser.parse_args()
    TOOLS[given.tool](Set(given.out, given.small))


if __name__ == "__main__":
    main()
