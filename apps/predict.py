"""Classifies image files with an exported ONNX network; needs neither Keras nor TensorFlow.

python apps/predict.py --network=runs/mnist/exports/cnn.onnx seven.png
"""

import numpy as np
from absl import app, flags
from app_support import ending

import export

_NETWORK = flags.DEFINE_string(
    "network", None, "ONNX file that apps/export_model.py wrote.", required=True
)


def main(argv):
    """Print one line per image: file, class, probability."""
    paths = argv[1:]
    if not paths:
        raise app.UsageError("Name at least one image file.")
    network = export.load_onnx(_NETWORK.value)
    images = np.stack([export.read_image(path, network.input_shape) for path in paths])
    width = max(map(len, paths))
    for path, (name, probability) in zip(paths, network.predict(images), strict=True):
        print(f"{path:<{width}}  {name}  {probability:.4f}")


if __name__ == "__main__":
    ending.run(main)
