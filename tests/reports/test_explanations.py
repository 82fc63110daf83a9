import pytest

from fer.evaluation.explanations import explain, figures
from fer.reports import explanations

HOSTILE = "<b>happy</b> | [x](y)"


def picture(png: bytes, title: str) -> str:
    return f"![{title}]({png.decode()})"


@pytest.fixture
def folder(tmp_path):
    mistake = figures.Mistake(
        image_id=f"{HOSTILE}.png", label=HOSTILE, predicted="sad", label_probability=0.01, predicted_probability=0.9
    )
    found = figures.Explanations(
        split="test",
        layer="conv",
        classes=(
            figures.ClassExplanation(name=HOSTILE, n_images=30, heat=((0.5,),), picture="grad_cam_000.png"),
            figures.ClassExplanation(name="sad", n_images=0, why_not="too few"),
        ),
        mistakes=figures.Mistakes(n=2, most_confident=(mistake,), n_labels_in_doubt=0, labels_in_doubt=()),
    )
    (tmp_path / explain.FILE).write_text(found.model_dump_json())
    (tmp_path / "grad_cam_000.png").write_bytes(b"average")
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces/000.png").write_bytes(b"single")
    face = explain.Face(file="faces/000.png", image_id="id1", why="confident mistake", label=HOSTILE, predicted="sad")
    (tmp_path / explain.FACES_LIST).write_text(explain.Faces(faces=(face,)).model_dump_json())
    return tmp_path


def test_the_page_has_average_faces_and_mistakes_and_no_single_face(folder):
    text = explanations.markdown(folder, "cnn", picture)
    assert "(average)" in text
    assert "(single)" not in text
    assert "**sad**: too few" in text
    assert "0.010" in text
    assert "<b>" not in text.replace("\\<b\\>", "")


def test_single_faces_stand_on_a_page_of_their_own(folder):
    text = explanations.faces_markdown(folder, "cnn", picture)
    assert "## Confident mistake" in text
    assert "(single)" in text
    assert "<b>" not in text.replace("\\<b\\>", "")
