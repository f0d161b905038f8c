"""The names behind the numbers of published detectors, in the order of their outputs, by how many there are."""

VOC = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
)
COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
VOC_CLASSES = tuple(VOC.split())
COCO_CLASSES = tuple(COCO.split(","))


def class_names(count: int) -> tuple[str, ...]:
    """The names of VOC's 20 or COCO's 80 classes; for other numbers, which say nothing, class_1, class_2, ..."""
    known = {len(names): names for names in (VOC_CLASSES, COCO_CLASSES)}
    return known.get(count, tuple(f"class_{i}" for i in range(1, count + 1)))
