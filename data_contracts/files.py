"""Names of files that several stages know: here, so that a later stage need not reach an earlier one's code."""

IMAGES = "images"  # the folder of the parts, beside the manifest
SPLIT = "split.parquet"
SPLITS = ("train", "validation", "test")
PREPROCESSING = "preprocessing.json"  # beside shards and models
TRAINED_ON = "trained_on.parquet"  # of a release: the pixel_sha256 of its train and validation images


def part(number: int) -> str:
    """The file name of a part in `images/`."""
    return f"part-{number:05d}.parquet"
