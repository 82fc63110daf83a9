"""Encoded bytes to grey pixels, and grey pixels to a model's input. Images are (H, W) uint8, 0-255, throughout.

The content decides what an image is; its name says nothing. `headers` looks first, then OpenCV decodes, or Pillow
what OpenCV gets wrong:

| what | becomes |
| --- | --- |
| empty; no image; SVG, PDF, HEIC, AVIF, JPEG 2000, ... | refused: not decoded by every installation alike |
| over 8,192 px a side by its header | refused before it is decoded; so is a side of zero |
| cut short anywhere; a wrong checksum (PNG) | refused; never half a picture, which OpenCV and Pillow both can return |
| JPEG cut short and closed again | refused where its last block is missing: libjpeg fills it with grey 128 |
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

import dataclasses
import io
import math
import threading
import warnings
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from data_contracts import manifest
from fer.images import headers

# Our own pools run one process a core; OpenCV's threads below them would fight for the same cores.
cv2.setNumThreads(0)


UndecodableImage = headers.Unfit  # the message is the reason, fit for a report


class Read(NamedTuple):
    """A decoded image: `pixels` (H, W) uint8 grey, upright; `format` such as "JPEG"."""

    pixels: np.ndarray
    format: str


@dataclasses.dataclass(frozen=True)
class Properties:
    """What the grey pixels of an image amount to.

    `mean`, `std`, `p05`, `p99` are grey levels, 0-255: `p05` is the lowest level that at least 5 % of the pixels do not
    exceed. `entropy` is that of the 256 levels, in bits, 0-8. `sharpness` is the variance of the Laplacian of the
    thumbnail over the thumbnail's own variance, so that neither contrast nor size counts; 0 for a blank image, 20 for
    noise. Variance of the Laplacian: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """

    mean: float
    std: float
    p05: float
    p99: float
    entropy: float
    sharpness: float


def read(data: bytes) -> Read:
    """Decode an encoded image to grey (H, W) uint8, turned as its EXIF says. Raises UndecodableImage."""
    header = headers.read(data)
    return Read(_decode(data, header), header.format)


def decode(data: bytes) -> np.ndarray:
    """The pixels of `read`. Raises UndecodableImage."""
    return _decode(data, headers.read(data))


def _decode(data: bytes, header: headers.Header) -> np.ndarray:
    if header.format == "JPEG":
        pixels = _by_opencv(data)
        if header.progressive or ((header.turned or pixels.item(-1) == _FILLING) and _may_lack_its_end(pixels)):
            _require_end_of_jpeg(data)
        return pixels
    if header.skipped:
        data = _without(data, header.skipped)
    if header.start:
        count = header.height * header.width
        return np.frombuffer(data, np.uint8, count, header.start).reshape(header.height, header.width).copy()
    return _by_opencv(data) if header.plain else _by_pillow(data, header.format)


def _without(data: bytes, stretches: tuple[tuple[int, int], ...]) -> bytes:
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
    """Raise UndecodableImage if bytes put before the end change the picture: a whole one needs no more of them."""
    end = headers.end_of_jpeg(data)
    if _samples_of_jpeg(data[:end] + _MORE_OF_A_JPEG + data[end:]) != _samples_of_jpeg(data):
        raise UndecodableImage("cut short")


def _samples_of_jpeg(data: bytes) -> bytes:
    """By Pillow, which does not tell the terminal of bytes too many, as OpenCV does."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.draft("L", image.size)
            return image.tobytes()
    except Exception as error:  # a dozen types, as in `_by_pillow`
        raise UndecodableImage("damaged: it can't be decoded") from error


_FILLING = 128
_MORE_OF_A_JPEG = bytes(range(255))  # the 0 first completes a 0xFF that the cut has left; found 6,449 of 6,456 cuts


_warnings = threading.Lock()  # a filter holds for all threads: the last to leave would restore another's


def _by_pillow(data: bytes, form: str) -> np.ndarray:
    from PIL import Image, ImageOps

    with _warnings, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # how it says "Truncated File Read" of a TIFF
        try:
            with Image.open(io.BytesIO(data), formats=("PPM" if form in _PNM else form,)) as image:
                headers.require_size(*image.size)
                _require_one_page(image)
                if form == "TIFF":
                    _require_strips(image, len(data))
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                pixels = _grey(image, form)
                return 255 - pixels if form == "TIFF" and _is_negative(image) else pixels
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


def _grey(image: Any, form: str) -> np.ndarray:
    """A Pillow image to (H, W) uint8. Raises UndecodableImage for levels of which nothing says what is white."""
    if image.mode.startswith("I;16"):
        return (np.asarray(image).astype(np.uint16, copy=False) >> 8).astype(np.uint8)
    if image.mode == "I" and form in _PNM:  # scaled to 0-65535
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


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Grey (H, W) uint8 to (48, 48) uint8, squeezed to the square; areas are averaged where it shrinks."""
    side = manifest.THUMBNAIL_SIDE
    height, width = pixels.shape
    if (height, width) == (side, side):
        return pixels
    if width > side or height > side:  # each axis by itself: OpenCV averages only if both shrink
        pixels = cv2.resize(pixels, (min(width, side), min(height, side)), interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR)


def properties(pixels: np.ndarray, small: np.ndarray | None = None) -> Properties:
    """Measure grey (H, W) uint8; `small` is its thumbnail, if it is known already. 30 µs at 48 x 48."""
    flat = pixels.ravel()
    # In pieces, since NumPy makes eight bytes of each pixel to count it.
    counts = np.bincount(flat[:_PIECE], minlength=256)
    for start in range(_PIECE, flat.size, _PIECE):
        counts += np.bincount(flat[start : start + _PIECE], minlength=256)
    n = pixels.size
    mean = float(counts @ _LEVELS) / n
    std = math.sqrt(max(0.0, float(counts @ _LEVELS_SQUARED) / n - mean * mean))
    p05, p99 = np.searchsorted(counts.cumsum(), (0.05 * n, 0.99 * n))
    shares = counts[counts > 0] / n
    entropy = max(0.0, -float(shares @ np.log2(shares)))
    return Properties(
        mean, std, float(p05), float(p99), entropy, _sharpness(thumbnail(pixels) if small is None else small)
    )


def _sharpness(small: np.ndarray) -> float:
    contrast = float(cv2.meanStdDev(small)[1][0, 0])
    if not contrast:
        return 0.0
    return (float(cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_16S))[1][0, 0]) / contrast) ** 2


_PIECE = 1 << 18
_LEVELS = np.arange(256)
_LEVELS_SQUARED = _LEVELS**2


def sums(pixels: np.ndarray) -> tuple[int, int]:
    """The exact sum and sum of squares of uint8 pixels of any shape; 0.14 µs for 48 x 48 of many.

    What is not contiguous is copied.
    """
    flat = np.ascontiguousarray(pixels).reshape(1, -1)
    total = squares = 0
    for start in range(0, flat.size, _SUMMED):
        piece = flat[:, start : start + _SUMMED]
        total += int(cv2.sumElems(piece)[0])
        squares += round(cv2.norm(piece, cv2.NORM_L2SQR))  # some builds square the root
    return total, squares


_SUMMED = 1 << 30  # pixels at once: their squares, even squared from the root, fit into the 53 bits of a double


def encode_png(image: np.ndarray) -> bytes:
    """Encode a grey (H, W) or colour (H, W, 3) BGR uint8 image as PNG."""
    return cv2.imencode(".png", image)[1].tobytes()


Contrast = Literal["none", "equalise", "clahe"]


def prepare(
    image: np.ndarray,
    height: int,
    width: int,
    blur_kernel: int,
    blur_sigma: float,
    contrast: Contrast = "none",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Resize grey (H, W) uint8 to (height, width), even out its contrast, blur by an odd Gaussian kernel (0: none).

    The result is `out` if that is given, of (height, width) uint8.
    Shrinking averages areas, enlarging interpolates linearly. `contrast` comes after the size, so that the histograms
    are of the pixels that a model sees, and before the blur, which takes away some of the noise that it brings out:
    "equalise" makes all grey levels about as frequent, over the whole image (5 µs at 48 x 48); "clahe" does so tile by
    tile, within limits (28 µs): noise of 4 grey levels gets 3 times as strong, 85 times by "equalise".
    """
    if image.shape != (height, width):
        shrinks = image.shape[0] >= height and image.shape[1] >= width
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if contrast == "equalise":
        image = cv2.equalizeHist(image)
    elif contrast == "clahe":
        image = _clahe(image)
    if blur_kernel:
        return cv2.GaussianBlur(image, (blur_kernel, blur_kernel), blur_sigma, out)
    if out is None:
        return image
    out[...] = image
    return out


def _clahe(image: np.ndarray) -> np.ndarray:
    """K. Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994; his grid is 8 x 8.

    Of a face of 48 px that leaves 36 pixels a tile, which fill no histogram of 256 levels: a tile gets 24 px a side at
    least, so that 48 px are 2 x 2 tiles and from 192 px on there are 8 x 8.
    """
    rows, columns = (min(8, max(1, side // _TILE_PX)) for side in image.shape)
    return cv2.createCLAHE(_CLIP_LIMIT, (columns, rows)).apply(image)


_TILE_PX = 24
_CLIP_LIMIT = 2.0  # a grey level's pixels over the mean level's: those beyond count for all levels alike
