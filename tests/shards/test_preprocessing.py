import numpy as np
import pytest
from pydantic import ValidationError

from fer.shards import preprocessing


@pytest.mark.parametrize("kernel", [2, 4, -1, 33])
def test_a_blur_kernel_must_be_odd_or_none(kernel):
    with pytest.raises(ValidationError, match="blur_kernel"):
        preprocessing.PreprocessConfig(blur_kernel=kernel)


def test_a_record_notices_another_way_of_preparing_images_but_not_rounding(monkeypatch):
    config = preprocessing.PreprocessConfig(height=16, width=16, blur_kernel=3)
    record = preprocessing.Preprocessing(
        config=config,
        classes=("happy", "sad"),
        height=16,
        width=16,
        mean=1.0,
        std=1.0,
        probe=preprocessing.probe(config),
    )
    assert record.is_kept()
    prepare = preprocessing.prepare.prepare
    monkeypatch.setattr(preprocessing.prepare, "prepare", lambda *a: np.clip(prepare(*a).astype(int) + 1, 0, 255))
    assert record.is_kept()
    monkeypatch.setattr(preprocessing.prepare, "prepare", lambda *a: 255 - prepare(*a))
    assert not record.is_kept()
    monkeypatch.setattr(preprocessing.prepare, "prepare", lambda image, h, w, k, s, *rest: prepare(image, h, w, 0, s))
    assert not record.is_kept()


@pytest.mark.parametrize(("face", "cuts"), [("whole", False), ("crop", True), ("align", True)])
def test_a_record_notices_another_detector_if_faces_were_cut_out(monkeypatch, face, cuts):
    config = preprocessing.PreprocessConfig(height=16, width=16, face=face)
    record = preprocessing.Preprocessing(
        config=config,
        classes=("happy", "sad"),
        height=16,
        width=16,
        mean=1.0,
        std=1.0,
        probe=preprocessing.probe(config),
        detector=preprocessing.detector(config),
    )
    assert record.is_kept()
    before_it_was_recorded = record.model_copy(update={"detector": None})
    assert before_it_was_recorded.is_kept() is not cuts
    monkeypatch.setattr(preprocessing.faces, "DETECTOR", "another")
    assert record.is_kept() is not cuts
