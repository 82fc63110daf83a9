"""The preprocessing that is shipped with a release, against the one that its training images went through."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from untrained import CLASSES

from fer.evaluation.calibration import temperature
from fer.exports import serving
from fer.images import faces
from fer.images.blazeface import Face
from fer.recipes import catalog
from fer.shards import preprocessing

SHIPPED = Path(serving.__file__).with_name("shipped") / serving.PREPROCESS
CONFIGS = {name: catalog.load(name).preprocess for name in catalog.NAMES} | {
    "equalised": preprocessing.PreprocessConfig(height=31, width=40, contrast="equalise", blur_kernel=0),
    "clahe": preprocessing.PreprocessConfig(height=64, width=48, contrast="clahe", blur_kernel=5, blur_sigma=1.3),
}
ENCODERS = {".png": [], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 90], ".bmp": [], ".webp": [cv2.IMWRITE_WEBP_QUALITY, 90]}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """`shipped(config, temperature)`: the module `preprocess` as it lies beside a model of this config."""
    made = {}

    def of(config, degree=1.0):
        key = (config, degree)
        if key not in made:
            record = preprocessing.Preprocessing(
                config=config, classes=CLASSES, height=config.height, width=config.width, mean=1.0, std=1.0, probe=()
            )
            folder = tmp_path_factory.mktemp("release")
            content = serving.of(record, None, (), {}, {}, None, None).model_copy(update={"temperature": degree})
            (folder / serving.FILE).write_text(content.model_dump_json())
            (folder / serving.PREPROCESS).write_bytes(SHIPPED.read_bytes())
            spec = importlib.util.spec_from_file_location("preprocess", folder / serving.PREPROCESS)
            made[key] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(made[key])
        return made[key]

    return of


@st.composite
def pictures(draw, colours=(1, 3)):
    """(H, W, 1 or 3) uint8 of 1 to 150 px a side: noise on ramps, so that no two pixels need be alike."""
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ramp = np.linspace(0, 200, width)[np.newaxis, :, np.newaxis]
    noise = rng.integers(0, draw(st.integers(1, 56)), (height, width, draw(st.sampled_from(colours))))
    return (ramp + noise).astype(np.uint8)


def test_it_is_short():
    assert len(SHIPPED.read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", CONFIGS)
@given(picture=pictures(), kind=st.sampled_from(sorted(ENCODERS)))
def test_it_prepares_encoded_pictures_as_the_pipeline_does_to_the_bit(shipped, name, picture, kind):
    config = CONFIGS[name].model_copy(update={"face": "whole"})
    data = cv2.imencode(kind, picture, ENCODERS[kind])[1].tobytes()
    module = shipped(config)
    prepared = module.prepare([module.decode(data)])
    assert prepared.dtype == np.float32
    assert prepared.shape == (1, config.height, config.width, 1)
    assert np.array_equal(prepared[0, ..., 0], preprocessing.prepare_encoded(data, config))


@given(
    picture=pictures(colours=(1,)),
    mode=st.sampled_from(["whole", "crop", "align"]),
    margin=st.floats(0, 1),
    box=st.tuples(*[st.floats(-0.3, 1.3)] * 2, *[st.floats(0.05, 1.5)] * 2),
    eyes=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=2),
)
def test_it_frames_faces_as_the_pipeline_does_to_the_bit(shipped, picture, mode, margin, box, eyes):
    grey = picture[..., 0]
    sides = np.array(grey.shape[::-1], float)
    points = np.array([sides * box[:2], sides * box[2:], *(sides * eye for eye in eyes)])
    face = Face(0.9, points)
    module = shipped(preprocessing.PreprocessConfig(face=mode, face_margin=margin))
    framed = module.frame(grey, tuple(points[0]), face.side, tuple(points[2]), tuple(points[3]))
    kept = 0.0 if mode == "whole" else margin
    assert np.array_equal(framed, faces.crop(grey, face, "crop" if mode == "whole" else mode, kept))


@given(
    degree=st.sampled_from([0.05, 0.7, 1.0, 1.6, 20.0]),
    numbers=st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=5),
)
def test_it_calibrates_probabilities_as_the_pipeline_does(shipped, degree, numbers):
    raw = np.array(numbers, np.float32) + np.float32(1e-6)
    raw /= raw.sum(axis=1, keepdims=True)
    calibrated = shipped(preprocessing.PreprocessConfig(), degree).calibrated(raw)
    assert np.allclose(calibrated, temperature.scaled(raw, degree), atol=2e-7)
    assert np.array_equal(calibrated.argmax(axis=1), raw.argmax(axis=1))
