"""Whether a model's training images are faces as FER2013 frames them, or photographs that show some: told by these."""

from pathlib import Path

from fer.exports.serving import WholeShows
from fer.images import faces
from fer.shards import selection

_LOOKED_AT = 64  # images: 10 ms each at 48x48
_MOST = 0.5


def of_train(shards: Path, seed: int) -> WholeShows:
    """What most of some train images show, as the model saw them: those that the seed and their ids choose.

    A crop is a picture in which a face is found that takes most of it; of FER2013's 97 % are such. Prepared to a
    model's input a face in a photograph may be too small to be found: that is no crop either.
    """
    chosen = selection.choose(selection.image_ids(shards, "train"), _LOOKED_AT, seed)
    n_crops = 0
    for batch in selection.batches(shards, "train", chosen, _LOOKED_AT):
        for image in batch.pixels.reshape(len(batch.image_ids), *batch.pixels.shape[1:3]):
            found = faces.find(image, largest_only=True)
            n_crops += bool(found) and faces.is_crop(image, found[0])
    return "crops" if n_crops >= _MOST * len(chosen) else "photographs"
