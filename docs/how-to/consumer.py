"""Emotions of pictures by an exported release: `python consumer.py FOLDER PICTURE...`, without TensorFlow and `fer`."""

import sys
from pathlib import Path

import onnxruntime

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
import preprocess  # noqa: E402 - the release's own, which finds `serving.json` beside it

pictures = [preprocess.decode(Path(name).read_bytes()) for name in sys.argv[2:]]
session = onnxruntime.InferenceSession(folder / "model.onnx")
(raw,) = session.run(None, {"pixels": preprocess.prepare(pictures)})
classes = preprocess.SERVING["classes"]
for name, row in zip(sys.argv[2:], preprocess.calibrated(raw), strict=True):
    print(name, classes[row.argmax()], " ".join(f"{one}={p:.4f}" for one, p in zip(classes, row, strict=True)))
