"""The augmentation of `fer.images.augment` as a Keras layer, for whatever device the backend has.

One affine resampling, then brightness and contrast, then erasing; written in keras.ops, for any backend.
"""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from fer.images import augment

# A row of packed draws: the map from a place in the copy to its source (two rows of three, and the two zeros of a
# projection), gain, offset, the box's top, left, height and width, and what fills it.
_MAP, _GAIN, _OFFSET, _BOX, _FILL = slice(0, 8), 8, 9, slice(10, 14), 14
PACKED = 15


def packed(draws: augment.Draws) -> np.ndarray:
    """N draws as the layer takes them, (N, 15) float32."""
    rows = np.zeros((len(draws.fills), PACKED), np.float32)
    back = np.linalg.inv(draws.matrices[:, :, :2])
    rows[:, [0, 1, 3, 4]] = back.reshape(-1, 4)
    rows[:, [2, 5]] = -(back @ draws.matrices[:, :, 2:])[:, :, 0]
    rows[:, _GAIN], rows[:, _OFFSET] = draws.gains, draws.offsets
    rows[:, _BOX], rows[:, _FILL] = draws.boxes, draws.fills
    return rows


@keras.saving.register_keras_serializable("fer")
class Augmentation(keras.layers.Layer):
    """Augments grey images (N, H, W, 1) of 0-255, uint8 or float, to float32; outside training it changes nothing.

    With `draws` (N, 15) float32, which `packed` makes, a copy is that of `augment.apply` except for rounding. Without,
    the layer draws as far from the source as `augment.draw` does, from a seed generator of its own. Of `draws` only the
    columns of what `config` asks for are used.
    """

    def __init__(self, config: augment.AugmentConfig | Mapping[str, Any], seed: int | None = None, **named: Any):
        super().__init__(**named)
        self.config = augment.AugmentConfig.model_validate(config)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, draws: Any = None, training: bool = False) -> Any:
        """The augmented images (N, H, W, 1) float32."""
        images = ops.cast(images, "float32")
        if not training:
            return images
        height, width = images.shape[1:3]
        if draws is None:
            draws = self._draw(ops.shape(images)[0], height, width)
        images = ops.image.affine_transform(
            images, draws[:, _MAP], interpolation="bilinear", fill_mode="reflect", data_format="channels_last"
        )
        if self.config.contrast or self.config.brightness:
            gain, offset = (draws[:, at, None, None, None] for at in (_GAIN, _OFFSET))
            images = ops.clip((images - augment.MID_GREY) * gain + (augment.MID_GREY + offset), 0, 255)
        if self.config.erasing:
            top, left, box_height, box_width, fill = (draws[:, at, None, None, None] for at in range(10, PACKED))
            rows = ops.reshape(ops.arange(height, dtype="float32"), (1, height, 1, 1))
            columns = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, width, 1))
            in_rows = ops.logical_and(rows >= top, rows < top + box_height)
            in_columns = ops.logical_and(columns >= left, columns < left + box_width)
            images = ops.where(ops.logical_and(in_rows, in_columns), fill, images)
        return images

    def _draw(self, n_images: Any, height: int, width: int) -> Any:
        """(N, 15) float32: what `packed` gives, drawn here."""
        config = self.config
        even = keras.random.uniform((n_images, 16), seed=self.seed_generator)  # the columns of `augment.draw`
        around = even * 2 - 1
        turn = around[:, 0] * math.radians(config.rotation_deg)
        slant = ops.tan(around[:, 3] * math.radians(config.shear_deg))
        scale_y = 1 + around[:, 4] * config.zoom
        scale_x = ops.where(around[:, 5] >= 0, -scale_y, scale_y) if config.horizontal_flip else scale_y
        cos, sin = ops.cos(turn), ops.sin(turn)
        # The inverse of rotation @ shear @ zoom and flip.
        xx, xy = (cos + slant * sin) / scale_x, (sin - slant * cos) / scale_x
        yx, yy = -sin / scale_y, cos / scale_y
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        from_x = middle_x + around[:, 1] * (config.shift * width)
        from_y = middle_y + around[:, 2] * (config.shift * height)
        (low, high), (flattest, tallest) = augment.ERASED_AREA, augment.ERASED_ASPECT
        area = (low + even[:, 8] * (high - low)) * (height * width)
        aspect = ops.exp(math.log(flattest) + even[:, 9] * math.log(tallest / flattest))
        box_height = ops.clip(ops.round(ops.sqrt(area * aspect)), 1, height)
        box_width = ops.clip(ops.round(ops.sqrt(area / aspect)), 1, width)
        zero = ops.zeros_like(turn)
        return ops.stack(
            [
                xx, xy, middle_x - xx * from_x - xy * from_y,
                yx, yy, middle_y - yx * from_x - yy * from_y,
                zero, zero,
                1 + around[:, 6] * config.contrast, around[:, 7] * config.brightness,
                ops.floor(even[:, 10] * (height - box_height + 1)), ops.floor(even[:, 11] * (width - box_width + 1)),
                ops.where(even[:, 12] < config.erasing, box_height, zero), box_width,
                ops.floor(even[:, 13] * 256),
            ],
            axis=1,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments, as Keras saves them."""
        return {**super().get_config(), "config": self.config.model_dump(), "seed": self.seed}
