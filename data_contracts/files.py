"""Names of files that several stages know: here, so that a later stage need not reach an earlier one's code."""

MANIFEST = "manifest.parquet"
IMAGES = "images"  # the folder of the parts, beside the manifest
THUMBNAILS = "thumbnails"  # likewise
ACCEPTED = "accepted.parquet"  # of the manifest's rows, those that keep the contract
QUARANTINE = "quarantine.parquet"  # the others
FINDINGS = "findings.parquet"  # duplicate groups, outlier and face scores of the accepted images
PAIRS = "pairs.parquet"  # of duplicates
CURATION = "curation.parquet"  # the issues of the accepted images, and their actions
SPLIT = "split.parquet"
LABEL_ERRORS = "label_errors.parquet"  # labels of the split's images that are in doubt
FOLDS = "folds.parquet"  # of the split's images, for cross-fitting
ASSIGNMENTS = "assignments.parquet"  # beside it: the splits of all images that ever had one
# The stages' own reports, which the quality report is made of.
INDEX_REPORT = "index.json"
VALIDATION_REPORT = "validation.json"
INSPECTION_REPORT = "inspect.json"
CURATION_REPORT = "curation.json"
SPLIT_REPORT = "split.json"
LABEL_ERRORS_REPORT = "label_errors.json"
DRIFT_REPORT = "drift.json"
VERDICT = "verdict.json"
SPLITS = ("train", "validation", "test")
PREPROCESSING = "preprocessing.json"  # beside shards and models
CONTRACT = "contract.json"  # beside a dataset: how it keeps its contract
DOCS = "data_docs"  # the same as a page
MODEL = "model.keras"  # of a trained model
TRAINED_ON = "trained_on.parquet"  # of a release: pixel_sha256 and split of its train and validation images
TESTED_ON = "tested_on.parquet"  # of a release: pixel_sha256 of its test images
SHOWN = "shown.parquet"  # of a release: properties of what its model was shown of train images, without their ids
WEIGHTS_TRAINED_ON = "weights_trained_on.parquet"  # of a model: that of the release whose weights it started from


def part(number: int) -> str:
    """The file name of a part in `thumbnails/`."""
    return f"part-{number:05d}.parquet"


def image_part(number: int) -> str:
    """The file name of a part in `images/`."""
    return f"part-{number:05d}.arrow"
