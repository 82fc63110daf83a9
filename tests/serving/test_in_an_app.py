"""What the guide shows to whoever writes an app, run as it stands there."""

from pathlib import Path

import cv2
import onnx_release
from drawn_photos import photo

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "predict.md"


def test_the_guides_app_predicts_and_draws_the_frames_of_a_video(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx_release.write(tmp_path / "release")
    video = cv2.VideoWriter("film.avi", cv2.VideoWriter_fourcc(*"MJPG"), 25, (640, 480))
    for pixels in (photo((350, 120, 140)), photo((40, 60, 160), (400, 200, 110)), photo()):
        video.write(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR))
    video.release()
    code = GUIDE.read_text().split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    for shown, there in (('from_release("demo")', 'from_folder("release")'), ("Capture(0)", 'Capture("film.avi")')):
        assert shown in code
        code = code.replace(shown, there)
    exec(compile(code, str(GUIDE), "exec"), {})  # noqa: S102 - the guide is ours
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" [")[0] for line in lines] == ["one face", "several faces", "no face"]
    assert cv2.imread("now.jpg").shape == (480, 640, 3)
