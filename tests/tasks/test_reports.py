import pytest

from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation.explanations import explain, figures
from fer.evaluation.refs import ExplanationsRef
from fer.registry.refs import ReleaseRef
from fer.reports import library
from fer.training.refs import ModelRef
from tasks import reports

RELEASE = ReleaseRef(name="demo", version=3, status="released", uri="s3://m/demo/3", champion_version=3)
MODEL = ModelRef(
    model="cnn", classes=("a",), n_parameters=1, epochs_run=1, best_epoch=1, validation_accuracy=0.5, train_seconds=1
)


@pytest.mark.parametrize("layer", ["conv", None])
def test_single_faces_are_written_on_this_machine_and_in_no_folder_that_is_shared(tmp_path, monkeypatch, layer):
    monkeypatch.setenv("FER_HOME", str(tmp_path / "home"))
    workspace = LocalWorkspace(tmp_path / "workspace")
    monkeypatch.setattr(reports.caching, "workspace", lambda: workspace)

    def produce(out):
        mistakes = figures.Mistakes(n=0, most_confident=(), n_labels_in_doubt=0, labels_in_doubt=())
        found = figures.Explanations(split="test", layer=layer, classes=(), mistakes=mistakes)
        (out / explain.FILE).write_text(found.model_dump_json())
        if layer is not None:
            face = explain.Face(file="faces/000.png", image_id="id1", why="right", label="a", predicted="a")
            (out / explain.FACES_LIST).write_text(explain.Faces(faces=(face,)).model_dump_json())
            (out / explain.FACES).mkdir()
            (out / face.file).write_bytes(b"a picture")
        return ExplanationsRef(layer=layer, n_classes_explained=0, n_mistakes=0, n_labels_in_doubt=0)

    ref = workspace.run("explanations", "x", ExplanationsRef, produce, resumable=False)
    page = tmp_path.joinpath(reports.show_explained_faces.fn(ref, MODEL, RELEASE))
    assert page.is_relative_to(tmp_path / "home")
    assert not page.is_relative_to(library.folder_of(tmp_path / "home", "demo", 3).parents[1])
    assert ("id1" in page.read_text()) == (layer is not None)
    assert ("data:image/png;base64," in page.read_text()) == (layer is not None)
