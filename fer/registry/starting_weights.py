"""The weights that a training starts from: published ones of keras.applications, a file, or a model of our registry.

They are identified first, so that the same weights are the same input wherever they came from; then they are
brought to the workspace. `fer.models.pretrained` puts them in a model.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from data_contracts import files
from fer import errors, limits
from fer.curation import groups
from fer.curation.refs import SplitRef
from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.engine.processes import child_process
from fer.engine.records import Record
from fer.models.config import ModelConfig
from fer.progress import Progress
from fer.registry import releases, trained_on
from fer.training import config as train_config
from fer.training.refs import WeightsRef

IMAGENET, REGISTRY = train_config.IMAGENET, train_config.REGISTRY
OF_FILE = "sha256:"  # how the identity of weights from a file begins
_FILE = "weights.h5"  # in Keras' older form, that of keras.applications
_FILE_OF_KERAS_3 = "model.weights.h5"
_DOWNLOAD_TIMEOUT_S = 1_800


class Published(NamedTuple):
    """ImageNet weights without the top, as keras.applications has them."""

    url: str
    md5: str


_PLACE = "https://storage.googleapis.com/tensorflow/keras-applications/"
_PUBLISHED = {
    # keras/src/applications/resnet.py, WEIGHTS_HASHES
    "resnet50": Published(
        f"{_PLACE}resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", "4d473c1dd8becc155b73f8504c6f6626"
    ),
    # Keras names no digest: this one is that of a public mirror's list.
    "mobilenet-v2": Published(
        f"{_PLACE}mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        "f1a68526548f7541cda07e19ba6c85f4",
    ),
}


class ResolvedWeights(Record):
    """Weights that are identified. Where they come from enters no key."""

    identity: str = Field(description="equal for equal weights, and the same on any machine")
    file: str = Field(description="the name that they get, which says in what form they are")
    origin: str = Field(description="what they were trained on, and who says so")
    source: str = Field(exclude=True)
    model: str = Field(exclude=True)

    @property
    def is_release(self) -> bool:
        """Whether they are those of a model in the registry."""
        return self.source.startswith(REGISTRY)


def resolve(source: str, model: ModelConfig, declared_origin: str | None = None) -> ResolvedWeights:
    """Identify the weights that `source` stands for now: `imagenet`, a file's path or `registry:NAME[@ALIAS]`.

    For a file, `declared_origin` must say what its weights were trained on.
    Raises ConfigError, SourceError, StoreError.
    """
    if source == IMAGENET:
        published = _PUBLISHED.get(model.name)
        if published is None or getattr(model, "alpha", 1.0) != 1.0:
            raise errors.ConfigError(
                "ImageNet weights must have been published for the model.",
                received=f"{model.name}, alpha {getattr(model, 'alpha', 1.0):g}",
                todo=f"take one of {', '.join(_PUBLISHED)} with alpha 1, or leave train.weights empty",
            )
        identity, file = f"md5:{published.md5}", _FILE
        origin = "ImageNet, as published with keras.applications"
    elif source.startswith(REGISTRY):
        manifest = releases.manifest_of(source.removeprefix(REGISTRY))
        source = f"{REGISTRY}{manifest.name}@{manifest.version}"  # an alias may move before it is fetched
        identity, file = f"{source}:{manifest.files[files.MODEL].sha256}", files.MODEL
        origin = f"{source}, checked against the images held out"
    else:
        path = Path(source)
        if path.suffix != ".h5" or not path.is_file():
            raise errors.SourceError(
                "train.weights must be imagenet, registry:NAME@ALIAS or a file of weights that ends in .h5.",
                received=f"{source!r}, which is no such file",
                todo="correct the path, or leave train.weights empty",
            )
        train_config.check_origin(source, declared_origin)
        limit = limits.current().model_bytes
        if path.stat().st_size > limit:
            raise errors.SourceError(
                f"A file of weights must have at most {limit:,} bytes.",
                received=f"{path.stat().st_size:,} in {path}",
                todo=f"take other weights, or {limits.to_raise('model_bytes')}",
            )
        identity = f"{OF_FILE}{disk.sha256(path)}"
        origin = f"a file, declared by the user and not verified: {declared_origin}"
        file = _FILE_OF_KERAS_3 if source.endswith(".weights.h5") else _FILE
    return ResolvedWeights(identity=identity, file=file, origin=origin, source=source, model=model.name)


def require_file(path: str, identity: str) -> None:
    """Raise SourceError unless the file of weights at `path` is the one of this identity."""
    found = f"{OF_FILE}{disk.sha256(Path(path))}" if Path(path).is_file() else "no file"
    if found != identity:
        raise errors.SourceError(
            f"The weights that the training started from must be there, as they were: {identity}.",
            received=f"{found} at {path}",
            todo="say where the file is now, by --weights PATH.h5",
        )


@stage.stage("weights")
def fetch(
    out: Path,
    resolved: ResolvedWeights,
    split: SplitRef | None,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> WeightsRef:
    """Bring the weights to the workspace; those of a release for a training on `split`, others for any.

    Raises SourceError, IntegrityError, StoreError; ConfigError if a release's weights know images that `split` holds
    out.
    """
    if resolved.is_release != (split is not None):
        raise ValueError(f"Weights of a release, and no others, must be for a split. Received: {split!r}.")
    if resolved.source == IMAGENET:
        published = _PUBLISHED[resolved.model]
        arguments = {"url": published.url, "md5": published.md5, "path": str(out / resolved.file)}
        child_process.run(
            download, arguments, child_process.Job("The download", _DOWNLOAD_TIMEOUT_S), progress=progress
        )
    elif split is not None:
        with releases.local_copy(resolved.source.removeprefix(REGISTRY)) as (_, folder):
            _refuse_to_know_what_is_held_out(resolved.source, folder / files.TRAINED_ON, workspace.folder(split))
            shutil.copyfile(folder / files.MODEL, out / resolved.file)
            shutil.copyfile(folder / files.TRAINED_ON, out / files.WEIGHTS_TRAINED_ON)
    else:
        shutil.copyfile(resolved.source, out / resolved.file)
        if f"{OF_FILE}{disk.sha256(out / resolved.file)}" != resolved.identity:
            raise errors.IntegrityError(
                "A file of weights must stay as it is while it is copied.",
                received=f"another content of {resolved.source}",
                todo="run the same command again",
            )
    return WeightsRef(file=resolved.file, identity=resolved.identity, origin=resolved.origin)


def _refuse_to_know_what_is_held_out(source: str, path: Path, split: Path) -> None:
    """Raise ConfigError if a release can't say what it was trained on, was trained on images that are now to choose by
    or to test on, or was chosen by images that are now to test on."""
    known = trained_on.read(path) if path.is_file() else None
    rows = pq.read_table(split / files.SPLIT, columns=["pixel_sha256", "near_duplicates", "split"])
    held_out = rows.filter(pc.is_in(rows["split"], pa.array(["validation", "test"])))
    n_known = len(held_out)
    if known is not None:
        trained_on_it = groups.leaked(held_out, known.filter(pc.equal(known["split"], "train"))["pixel_sha256"])
        is_test = pc.equal(held_out["split"], "test").to_numpy()
        n_known = int(np.where(is_test, groups.leaked(held_out, known["pixel_sha256"]), trained_on_it).sum())
    if n_known:
        held = f"{n_known:,} of the {len(held_out):,} images held out, or duplicates of theirs,"
        received = f"{held} are among those of {source}"
        raise errors.ConfigError(
            "Weights must not have been trained on images that are held out now.",
            received=received if known is not None else f"{source}, which does not say what it was trained on",
            todo="take a release of the same split, or leave train.weights empty",
        )


def download(url: str, md5: str, path: str, *, progress: Progress) -> None:
    """The work of the child process: bring `url` to `path`. Raises SourceError, IntegrityError."""
    import keras

    target = Path(path)
    progress(0, 1, f"downloading {url}")
    try:
        downloaded = keras.utils.get_file(
            target.name, url, cache_dir=target.parent, cache_subdir="staging", file_hash=md5
        )
    except ValueError as error:  # the digest
        raise errors.IntegrityError(
            "Published weights must have the digest that was published with them.",
            received=f"{url} with another MD5 than {md5}",
            todo="look at the network between, or set train.weights to a file that you trust",
        ) from error
    except Exception as error:
        raise errors.SourceError(
            "Published weights must be in reach.",
            received=f"{error}",
            todo=f"try again, or bring {url} here by other means and set train.weights to its path and "
            "train.weights_origin to ImageNet",
        ) from error
    Path(downloaded).replace(target)
    shutil.rmtree(target.parent / "staging")
