"""Write a video with boxes and emotions: python annotate_video.py film.mp4 drawn.mp4."""

import sys
from pathlib import Path

from fer.serving import drawing, video
from fer.serving.predictor import Predictor
from fer.serving.video_predictor import VideoPredictor

watching = VideoPredictor(Predictor.from_release())
with video.open_file(Path(sys.argv[1])) as film, video.Writer(Path(sys.argv[2]), film.fps) as drawn:
    for frame in film.frames():
        seen = watching.predict(frame.pixels, frame.time_s)
        print(f"{frame.time_s:.2f} s", *(f"{one.number}: {one.face.label}" for one in seen))
        drawn.write(drawing.annotated(frame.pixels, [one.face for one in seen]))
