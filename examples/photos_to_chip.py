"""From a data set to C on the chip: python examples/photos_to_chip.py DATA [EPOCHS]

DATA is a folder in any format that edgedet knows: COCO, YOLO, Pascal VOC, CVAT.
"""

import sys

import edgedet

data = edgedet.open_dataset(sys.argv[1])
print(data.check(imgsz=96))  # what is wrong with the data set is said before anything is trained

model = edgedet.train("rtmdet_pico_relu6", data, imgsz=96, epochs=int(sys.argv[2]) if len(sys.argv) > 2 else 100)
chip = model.quantize(data)
print(f"AP float {model.evaluate(data).ap.ap:.3f}, int8 on the chip {chip.evaluate(data).ap.ap:.3f}")

for found in chip.predict([record.path for record in data.valid.images[:3]]):
    print(found)  # <Detections in valid/0.png, 96x80: 2 red>; found.draw().show() shows it
print(chip.deploy("c99"))
