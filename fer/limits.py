"""How much an input may cost before it is refused: environment variables that begin with `FER_LIMIT_`.

They belong to the machine, not to a recipe, which may come from elsewhere. Each is far above what the public sets of
faces need and far below what would take a laptop's memory; what an honest input needs beyond one, its message says how
to allow.

FER_LIMIT_TABLE_ROWS=2000000 fer retrain …
"""

import functools

from pydantic import Field

from fer import settings

_PREFIX = "FER_LIMIT_"
_MIB = 2**20


class Limits(settings.FromEnvironment):
    """The limits in force. `current()` reads them once a process; an empty variable counts as not set."""

    PREFIX = _PREFIX

    archive_files: int = Field(
        default=2_000_000, ge=1, description="files of an archive or folder: AffectNet has 0.45 M cropped images"
    )
    archive_bytes: int = Field(
        default=100 * 1024 * _MIB, ge=1, description="bytes of all files of an archive or folder: AffectNet's are 60 GB"
    )
    archive_ratio: int = Field(
        default=100,
        ge=1,
        description="times its compressed bytes that a file, an archive or the columns of a Parquet may have, from "
        "64 MiB on: encoded images hardly shrink and fer2013.csv to a third; deflate's bombs reach 1,000",
    )
    archive_directory_bytes: int = Field(
        default=512 * _MIB,
        ge=1,
        description="bytes of an archive's directory, which is held in memory: 2 million entries of 200 bytes",
    )
    file_bytes: int = Field(
        default=2048 * _MIB, ge=1, description="bytes of a file in an archive or folder: fer2013.csv has 301 MB"
    )
    pixel_rows: int = Field(
        default=500_000,
        ge=1,
        description="rows of pixels of a source: FER2013 has 36 thousand, a few KB may hold millions",
    )
    table_rows: int = Field(
        default=700_000,
        ge=1,
        description="rows of a table of labels: AffectNet, the largest public set of faces with emotions, has two of "
        "0.4 and 0.5 M; a few KB of Parquet may hold any number",
    )
    missing_files: int = Field(
        default=100_000,
        ge=1,
        description="files that a table of labels names and that are not there: each is a row in quarantine, and takes "
        "some KB in memory",
    )
    table_columns: int = Field(
        default=100_000,
        ge=1,
        description="columns of a table: twice as many as an image of 224x224 has pixels",
    )
    parquet_bytes: int = Field(
        default=512 * _MIB, ge=1, description="bytes of a Parquet file, which is held in memory whole"
    )
    parquet_footer_bytes: int = Field(
        default=16 * _MIB,
        ge=1,
        description="bytes of the footer of a Parquet file, which is read before anything else: 80 thousand columns "
        "of row groups",
    )
    parquet_footer_values: int = Field(
        default=2_000_000,
        ge=1,
        description="fields and list items of a Parquet file's footer: each byte may be one, and takes a hundred in "
        "memory",
    )
    parquet_page_bytes: int = Field(
        default=256 * _MIB,
        ge=1,
        description="bytes of a page of a Parquet file once decompressed, by its header: it is decompressed at one go. "
        "Writers end a page after 1 MiB or some 1,000 values, which may be pictures",
    )
    parquet_text_bytes: int = Field(
        default=256 * _MIB,
        ge=1,
        description="bytes of the pages of the columns of a Parquet file that are read as labels, once decompressed: "
        "those of 700,000 rows with names of 100 bytes have a third",
    )
    model_bytes: int = Field(
        default=1024 * _MIB,
        ge=1,
        description="bytes of a model's file or of weights to start from: twice those of the largest VGG",
    )
    model_configuration_bytes: int = Field(
        default=4 * _MIB,
        ge=1,
        description="bytes of the configuration in a model's file: ResNet50 has 0.2 MB, and each layer takes a "
        "millisecond to be built",
    )
    model_layers: int = Field(default=1_000, ge=1, description="layers of a model: EfficientNetB7 has 814")
    model_output_bytes: int = Field(
        default=2048 * _MIB,
        ge=1,
        description="bytes of a layer's output for the images that are scored at once: 64 filters on 256 images of "
        "48x48 have 144 MiB",
    )
    model_memory_bytes: int = Field(
        default=8192 * _MIB,
        ge=1,
        description="bytes that may be allocated to predict or score with a model, of which no header tells all: "
        "ResNet50 on 256 images of 224x224 takes 2 GB",
    )
    model_operations: int = Field(
        default=100_000_000_000,
        ge=1,
        description="weights of each layer times the places that they are applied to, for one image: ResNet50 has 4 "
        "billion at 224x224, and a core does some 10 billion a second",
    )
    video_bytes: int = Field(
        default=16 * 1024 * _MIB, ge=1, description="bytes of a video file: an hour of 1920x1080 has 4 GB"
    )
    video_frames: int = Field(default=1_000_000, ge=1, description="frames of a video file: nine hours at 30 a second")
    video_seconds: int = Field(default=12 * 3_600, ge=1, description="seconds that the work on one video file may take")


def variable(name: str) -> str:
    """The environment variable of the limit `name`."""
    return _PREFIX + name.upper()


def to_raise(name: str) -> str:
    """What a message says of the limit `name` that was exceeded: how to allow more."""
    return f"set {variable(name)} higher if you trust it"


@functools.lru_cache(maxsize=1)
def current() -> Limits:
    """The limits in force, read when they are first asked for. Raises ConfigError for a variable that is not valid."""
    return Limits.load()
