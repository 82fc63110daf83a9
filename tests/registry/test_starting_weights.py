import contextlib
import hashlib
import http.server
import threading
import types

import keras
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.local_workspace import LocalWorkspace
from fer.models import zoo
from fer.models.networks import mobilenet_v2, resnet50, se_resnet
from fer.registry import releases, starting_weights

pytestmark = pytest.mark.slow

SMALL = se_resnet.Config(stem_filters=4, widths=(4,), blocks=(1,))
ORIGIN = "faces of another data set"


@pytest.fixture
def saved(tmp_path):
    model = zoo.build(SMALL, height=16, width=16, n_classes=3, mean=128, std=60)
    path = tmp_path / "mine.weights.h5"
    model.save_weights(path)
    return path


def split_of(workspace) -> SplitRef:
    """A split that holds out the images of the pixels `b` and `c`."""

    def produce(out):
        rows = {"pixel_sha256": ["a", "b", "c", "d"], "split": ["train", "validation", "test", "excluded"]}
        rows["near_duplicates"] = pa.array([[], [], ["near-duplicate of c"], []], pa.list_(pa.string()))
        pq.write_table(pa.table(rows), out / files.SPLIT)
        return SplitRef(classes=("x", "y", "z"), counts={}, origin="drawn")

    return workspace.run("split", "some", SplitRef, produce, resumable=False)


@pytest.fixture
def released(tmp_path, monkeypatch):
    """A release `mine` as `releases.local_copy` brings it here: a function of the pixels that it knows -> their split;
    of a list of them for one that names no splits, None for one that says nothing."""

    def release(known):
        folder = tmp_path / "released"
        folder.mkdir()
        zoo.build(SMALL, height=16, width=16, n_classes=3, mean=128, std=60).save(folder / files.MODEL)
        if known is not None:
            columns = {"pixel_sha256": list(known)}
            if isinstance(known, dict):
                columns["split"] = list(known.values())
            pq.write_table(pa.table(columns), folder / files.TRAINED_ON)
        manifest = types.SimpleNamespace(
            name="mine", version=3, files={files.MODEL: types.SimpleNamespace(sha256="0" * 64)}
        )
        asked = []

        @contextlib.contextmanager
        def local_copy(spec):
            asked.append(spec)
            yield manifest, folder

        def manifest_of(spec):
            asked.append(spec)
            return manifest

        monkeypatch.setattr(releases, "local_copy", local_copy)
        monkeypatch.setattr(releases, "manifest_of", manifest_of)
        return asked

    return release


def test_a_release_is_fetched_by_the_version_that_its_alias_stood_for(released, tmp_path):
    asked = released({"a": "train", "b": "validation", "e": "train"})
    workspace = LocalWorkspace(tmp_path / "workspace")
    ref = starting_weights.fetch(
        starting_weights.resolve("registry:mine@champion", SMALL), split_of(workspace), workspace=workspace
    )
    assert asked == ["mine@champion", "mine@3"]
    known = pq.read_table(workspace.folder(ref) / files.WEIGHTS_TRAINED_ON)["pixel_sha256"].to_pylist()
    assert known == ["a", "b", "e"]


@pytest.mark.parametrize(
    ("known", "match"),
    [
        (
            {"a": "train", "b": "validation", "c": "train"},
            "1 of the 2 images held out, or duplicates of theirs, are among those of .*mine@3",
        ),
        (
            {"a": "train", "c": "validation"},
            "1 of the 2 images held out, or duplicates of theirs, are among those of registry:mine@3",
        ),
        (
            {"a": "train", "b": "train"},
            "1 of the 2 images held out, or duplicates of theirs, are among those of registry:mine@3",
        ),
        (
            {"near-duplicate of c": "validation"},
            "1 of the 2 images held out, or duplicates of theirs, are among those of registry:mine@3",
        ),
        (["a", "b"], "1 of the 2 images held out, or duplicates of theirs, are among those of registry:mine@3"),
        (None, "mine@3, which does not say"),
    ],
)
def test_a_release_that_knows_what_is_held_out_now_is_refused(released, tmp_path, known, match):
    released(known)
    workspace = LocalWorkspace(tmp_path / "workspace")
    with pytest.raises(errors.ConfigError, match=match):
        starting_weights.fetch(
            starting_weights.resolve("registry:mine@champion", SMALL), split_of(workspace), workspace=workspace
        )
    assert not list(workspace.root.rglob("*.keras"))


def test_a_file_is_known_by_its_content_and_brought_to_the_workspace_once(saved, tmp_path):
    other = tmp_path / "elsewhere.weights.h5"
    other.write_bytes(saved.read_bytes())
    workspace = LocalWorkspace(tmp_path / "workspace")
    resolved = [starting_weights.resolve(str(path), SMALL, ORIGIN) for path in (saved, other)]
    assert resolved[0].identity == resolved[1].identity == f"sha256:{hashlib.sha256(saved.read_bytes()).hexdigest()}"
    refs = [starting_weights.fetch(source, None, workspace=workspace) for source in resolved]
    assert refs[0] == refs[1]
    assert (workspace.folder(refs[0]) / refs[0].file).read_bytes() == saved.read_bytes()


def test_a_file_whose_origin_nobody_declares_is_refused_since_it_may_have_seen_the_test(saved):
    for origin in (None, "", "  "):
        with pytest.raises(errors.ConfigError, match=r"without train\.weights_origin.*--set 'train\.weights_origin="):
            starting_weights.resolve(str(saved), SMALL, origin)


def test_it_is_told_who_says_what_weights_were_trained_on(saved, released, tmp_path):
    workspace = LocalWorkspace(tmp_path / "workspace")
    ref = starting_weights.fetch(starting_weights.resolve(str(saved), SMALL, ORIGIN), None, workspace=workspace)
    assert ref.origin == "a file, declared by the user and not verified: faces of another data set"
    assert (
        starting_weights.resolve("imagenet", resnet50.Config()).origin
        == "ImageNet, as published with keras.applications"
    )
    released({})
    assert starting_weights.resolve("registry:mine@champion", SMALL).origin.startswith(
        "registry:mine@3, checked against"
    )


def test_another_origin_of_the_same_file_is_told_and_not_what_was_said_before(saved, tmp_path):
    workspace = LocalWorkspace(tmp_path / "workspace")
    refs = [
        starting_weights.fetch(starting_weights.resolve(str(saved), SMALL, origin), None, workspace=workspace)
        for origin in "ab"
    ]
    assert [ref.origin[-1] for ref in refs] == ["a", "b"]
    assert refs[0].digest == refs[1].digest


def test_the_same_bytes_in_another_form_are_other_weights(saved, tmp_path):
    other = tmp_path / "elsewhere.h5"
    other.write_bytes(saved.read_bytes())
    keys = [
        starting_weights.fetch.key(starting_weights.resolve(str(path), SMALL, ORIGIN), None) for path in (saved, other)
    ]
    assert keys[0] != keys[1]


def test_only_a_release_is_fetched_for_a_split(saved, tmp_path):
    workspace = LocalWorkspace(tmp_path / "workspace")
    with pytest.raises(ValueError, match="must be for a split"):
        starting_weights.fetch(
            starting_weights.resolve(str(saved), SMALL, ORIGIN), split_of(workspace), workspace=workspace
        )


def test_a_file_that_changed_since_it_was_resolved_is_refused(saved, tmp_path):
    resolved = starting_weights.resolve(str(saved), SMALL, ORIGIN)
    saved.write_bytes(b"other")
    workspace = LocalWorkspace(tmp_path / "workspace")
    with pytest.raises(errors.IntegrityError, match="another content"):
        starting_weights.fetch(resolved, None, workspace=workspace)


@pytest.mark.parametrize("source", ["nowhere.h5", "imagenett", ""])
def test_what_is_no_file_is_refused(source, tmp_path):
    with pytest.raises(errors.SourceError, match=r"imagenet, registry:NAME@ALIAS or a file"):
        starting_weights.resolve(source, SMALL)


def test_imagenet_weights_are_known_for_the_published_models_alone():
    assert starting_weights.resolve("imagenet", resnet50.Config()).identity == "md5:4d473c1dd8becc155b73f8504c6f6626"
    for config in (SMALL, mobilenet_v2.Config(alpha=0.5)):
        with pytest.raises(errors.ConfigError, match=r"resnet50, mobilenet-v2 with alpha 1"):
            starting_weights.resolve("imagenet", config)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "some.h5").write_bytes(b"weights")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def download(url, tmp_path, content=b"weights"):
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    starting_weights.download(url, md5, str(tmp_path / "out.h5"), progress=lambda *_: None)


def test_a_download_with_the_published_digest_is_kept(server, tmp_path):
    download(f"{server}/some.h5", tmp_path)
    assert (tmp_path / "out.h5").read_bytes() == b"weights"
    assert {path.name for path in tmp_path.iterdir()} == {"served", "out.h5"}


def test_a_download_with_another_digest_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(errors.IntegrityError, match=r"another MD5.*train\.weights"):
        download(f"{server}/some.h5", tmp_path, b"other weights")
    assert not (tmp_path / "out.h5").exists()


def test_no_answer_says_how_to_do_without(server, tmp_path):
    with pytest.raises(errors.SourceError, match=r"by other means and set train\.weights"):
        download(f"{server}/none.h5", tmp_path)


def test_keras_publishes_these_weights_where_it_is_said():
    from keras.src.applications import mobilenet_v2, resnet

    urls = [published.url for published in starting_weights._PUBLISHED.values()]
    assert urls[0].startswith(resnet.BASE_WEIGHTS_PATH)
    assert starting_weights._PUBLISHED["resnet50"].md5 == resnet.WEIGHTS_HASHES["resnet50"][1]
    assert urls[1].startswith(mobilenet_v2.BASE_WEIGHT_PATH)
    assert keras.__version__.startswith("3.")
