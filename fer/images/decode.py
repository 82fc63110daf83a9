"""Encoded bytes to grey pixels. Images are (H, W) uint8, 0-255, throughout.

The content decides what an image is; its name says nothing. `headers` looks first, then OpenCV decodes, or Pillow
what OpenCV gets wrong:

| what | becomes |
| --- | --- |
| empty; no image; SVG, PDF, HEIC, AVIF, JPEG 2000, ... | refused: not decoded by every installation alike |
| sides over 8,192 px by its header; few bytes for many pixels | refused before it is decoded; so is a side of zero |
| cut short anywhere; a wrong checksum (PNG) | refused; never half a picture, which OpenCV and Pillow both can return |
| JPEG cut short and closed again | refused: too few bits for its scans, or libjpeg's filling, grey 128, at its end |
| progressive JPEG cut short and closed again | refused: a scan is missing, or bytes added to the last one change it |
| bytes after the end | ignored |
| several frames or pages | refused: nobody knows which one the label means |
| JPEG of CMYK or YCCK | inverted as Adobe writes them and every decoder assumes; then grey |
| JPEG lossless, hierarchical, 12 bits; over 100 scans | refused: libjpeg can't, or takes minutes |
| colour | 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), profiles and gamma ignored; a JPEG's own luminance |
| 16 bits; PNM of any highest value | scaled: the upper 8 bits; OpenCV would clip 10 bits to 3 levels |
| 32 bits, floats, NaN (TIFF) | refused: nothing says what is white |
| 1 bit, palette | as the colours that it stands for |
| transparency | over black, as the margins in FER2013; OpenCV shows the colours hidden below it |
| transparent colour at 16 bits (PNG) | refused: Pillow compares it with the upper 8 bits |
| EXIF orientation 1-8 (JPEG, PNG, WebP, TIFF) | turned upright |
| BMP compressed | refused: a decoder fills what is missing |
| text and profiles in a PNG | left out before it is decoded: a few KB may hold gigabytes |
"""

import io
import threading
import warnings
from typing import Any, NamedTuple

import cv2
import numpy as np

from fer.images import headers
from fer.images.formats import header, jpeg
from fer.images.formats.header import Header, UndecodableImage

# Our own pools run one process a core; OpenCV's threads below them would fight for the same cores.
cv2.setNumThreads(0)


class DecodedImage(NamedTuple):
    """A decoded image: `pixels` (H, W) uint8 grey, upright; `format` such as "JPEG"."""

    pixels: np.ndarray
    format: str


def decode_with_format(data: bytes) -> DecodedImage:
    """Decode an encoded image to grey (H, W) uint8, turned as its EXIF says. Raises UndecodableImage."""
    head = headers.read(data)
    return DecodedImage(_decode(data, head), head.format)


def decode(data: bytes) -> np.ndarray:
    """The pixels of `decode_with_format`, (H, W) uint8. Raises UndecodableImage."""
    return _decode(data, headers.read(data))


def _decode(data: bytes, head: Header) -> np.ndarray:
    if head.format == "JPEG":
        pixels = _by_opencv(data)
        if head.progressive or ((head.has_exif or pixels.item(-1) == _FILLING) and _may_lack_its_end(pixels)):
            _require_end_of_jpeg(data)
        return pixels
    if head.skipped:
        data = without(data, head.skipped)
    if head.start:
        count = head.height * head.width
        return np.frombuffer(data, np.uint8, count, head.start).reshape(head.height, head.width).copy()
    return _by_opencv(data) if head.plain else _by_pillow(data, head.format)


def without(data: bytes, stretches: tuple[tuple[int, int], ...]) -> bytes:
    """The data without what lies from each start to its end."""
    starts = (0, *(end for _, end in stretches))
    ends = (*(start for start, _ in stretches), len(data))
    return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))


def _by_opencv(data: bytes) -> np.ndarray:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:  # e.g. more pixels than OpenCV accepts
        raise UndecodableImage(f"the decoder refused it ({error.err})") from error
    if pixels is None:
        raise UndecodableImage("damaged: it can't be decoded")
    return pixels


def _may_lack_its_end(pixels: np.ndarray) -> bool:
    """Whether the last block of a JPEG, which lies in any corner once it is turned, is libjpeg's filling."""
    height, width = pixels.shape
    high, wide = (height - 1) % 8 + 1, (width - 1) % 8 + 1
    return any(
        (pixels[rows, columns] == _FILLING).all()
        for rows in (slice(height - high, None), slice(high))
        for columns in (slice(width - wide, None), slice(wide))
    )


def _require_end_of_jpeg(data: bytes) -> None:
    """Raise UndecodableImage if bytes inserted before the end change the picture: a whole one needs no more."""
    end = jpeg.end(data)
    if _samples_of_jpeg(data[:end] + _MORE_OF_A_JPEG + data[end:]) != _samples_of_jpeg(data):
        raise UndecodableImage("cut short")


def _samples_of_jpeg(data: bytes) -> bytes:
    """By Pillow: of bytes too many OpenCV would warn on the terminal."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            scale = _SCALE if image.width * image.height > header.FREE_PIXELS else 1
            image.draft("L", (image.width // scale, image.height // scale))
            return image.tobytes()
    except Exception as error:  # a dozen types, as in `_by_pillow`
        raise UndecodableImage("damaged: it can't be decoded") from error


_FILLING = 128
_SCALE = 8  # libjpeg's largest: of each block its mean, which is what tells one block from another
_MORE_OF_A_JPEG = bytes(range(255))  # the 0 first completes a 0xFF that the cut has left; shows 6,449 of 6,456 cuts


_warnings = threading.Lock()  # a filter holds for all threads: the last to leave would restore another's


def _by_pillow(data: bytes, format_name: str) -> np.ndarray:
    from PIL import Image, ImageOps

    with _warnings, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # how it says "Truncated File Read" of a TIFF
        try:
            with Image.open(io.BytesIO(data), formats=("PPM" if format_name in _PNM else format_name,)) as image:
                header.require_size(*image.size)
                header.require_density(*image.size, len(data))
                _require_one_page(image)
                if format_name == "TIFF":
                    _require_strips(image, len(data))
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                pixels = _grey(image, format_name)
                return 255 - pixels if format_name == "TIFF" and _is_negative(image) else pixels
        except UndecodableImage:
            raise
        except Exception as error:  # Pillow raises a dozen types for damaged bytes, SyntaxError among them
            raise UndecodableImage("damaged: it can't be decoded") from error


def _require_one_page(image: Any) -> None:
    """Raise UndecodableImage if there is a second page; `n_frames` would walk through all, which may be thousands."""
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
    else:
        raise UndecodableImage("several pages, not one picture")


def _require_strips(image: Any, n_bytes: int) -> None:
    """Raise UndecodableImage unless the TIFF's strips or tiles lie within the file (TIFF 6.0, sections 8 and 15)."""
    tags = image.tag_v2
    offsets = (*tags.get(273, ()), *tags.get(324, ()))
    lengths = (*tags.get(279, ()), *tags.get(325, ()))
    if any(offset + length > n_bytes for offset, length in zip(offsets, lengths, strict=False)):
        raise UndecodableImage("cut short")


def _is_negative(image: Any) -> bool:
    """Whether zero is white in a TIFF (tag 262), which Pillow heeds at up to 8 bits."""
    return image.mode.startswith("I;16") and image.tag_v2.get(262) == 0


def _grey(image: Any, format_name: str) -> np.ndarray:
    """A Pillow image to (H, W) uint8. Raises UndecodableImage for levels of which nothing says what is white."""
    if image.mode.startswith("I;16"):
        return (np.asarray(image).astype(np.uint16, copy=False) >> 8).astype(np.uint8)
    if image.mode == "I" and format_name in _PNM:  # scaled to 0-65535
        return (np.asarray(image) >> 8).astype(np.uint8)
    if image.mode not in _MODES:
        raise UndecodableImage("signed, of 32 bits or floats: nothing says what is white")
    if not image.has_transparency_data:
        return cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2GRAY)
    colour = np.asarray(image if image.mode == "RGBA" else image.convert("RGBA"))
    over_black = cv2.multiply(cv2.cvtColor(colour, cv2.COLOR_RGBA2GRAY), cv2.extractChannel(colour, 3), scale=1 / 255)
    return np.asarray(over_black)


_PNM = ("PBM", "PGM", "PPM")
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr")
