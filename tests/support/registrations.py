"""Models that can be registered: Refs of all stages, with their files in a workspace."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts import files
from fer.curation.refs import SplitRef
from fer.engine.refs import Ref
from fer.evaluation.refs import ChampionState, EvaluationRef, VerdictRef
from fer.registry import register as register_stage
from fer.registry.opponents import champion
from fer.shards import preprocessing
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef

CLASSES = ("happy", "sad")


SHARDS = ShardsRef(
    path="preprocess/0", digest="shards", classes=CLASSES, height=16, width=16, counts={}, mean=1.0, std=1.0
)
CONFIG = preprocessing.PreprocessConfig(height=16, width=16)
PREPROCESSING = (
    preprocessing.Preprocessing(
        config=CONFIG, classes=CLASSES, height=16, width=16, mean=1.0, std=1.0, probe=preprocessing.probe(CONFIG)
    )
    .model_dump_json()
    .encode()
)


def committed(workspace, stage, key, ref, content):
    """`ref` as a stage's output that holds these files."""

    def produce(out):
        for name, data in content.items():
            (out / name).write_bytes(data)
        return ref

    return workspace.run(stage, key, type(ref), produce, resumable=False)


def parts(workspace, *, passed=True, weights="a", accuracy=(0.0, 1.0), **verdict_fields):
    """The Refs that a registration takes: split, model, evaluation with this interval of the accuracy, verdict."""
    splits = ["train", "train", "train", "validation", "test", "excluded"]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"pixel_sha256": list("caabde"), "split": splits}), buffer)
    split = SplitRef(classes=CLASSES, counts={}, origin="drawn")
    model = ModelRef(
        digest=weights,
        model="cnn",
        classes=CLASSES,
        n_parameters=1,
        epochs_run=1,
        best_epoch=1,
        validation_accuracy=0.5,
        train_seconds=1.0,
    )
    evaluation = EvaluationRef(
        split="test", n_images=1, accuracy=1.0, accuracy_interval=(0, 1), macro_f1=1.0, macro_f1_interval=(0, 1)
    )
    verdict = VerdictRef(passed=passed, checks=(), **{"champion_version": None} | verdict_fields)
    committed(workspace, "preprocess", "0", SHARDS, {"test-00000.parquet": b""})
    metrics = json.dumps({"accuracy": accuracy[1], "accuracy_interval": accuracy}).encode()
    return (
        committed(workspace, "split", "0", split, {files.SPLIT: buffer.getvalue().to_pybytes()}),
        committed(
            workspace, "train", weights, model, {"model.keras": weights.encode(), files.PREPROCESSING: PREPROCESSING}
        ),
        committed(workspace, "evaluate", weights, evaluation, {"metrics.json": metrics}),
        committed(
            workspace, "gate", f"{weights}{verdict}", verdict, {"verdict.json": verdict.model_dump_json().encode()}
        ),
    )


def candidate(refs, **lineage):
    """The candidate made of the Refs that `parts` returns."""
    split, model, evaluation, verdict = refs
    return register_stage.Candidate(
        name="demo",
        recipe='{"name": "demo"}',
        code_fingerprint="ef",
        lineage={"source": "demo", "split_origin": "drawn", "index": "data"} | lineage,
        split=split,
        tested=split,
        model=model,
        shards=SHARDS,
        evaluation=evaluation,
        verdict=verdict,
    )


def register(workspace, refs, champion_state=None, by=None):
    """Register the model of these Refs, compared with no champion by default."""
    pages = {"report.md": b"# cnn", "confusion.png": b"PNG"}
    report = committed(workspace, "evaluation report", refs[1].digest, Ref(), pages)
    return register_stage.register(
        candidate(refs), champion_state or ChampionState(), report=report, by=by, workspace=workspace
    )


def state_for(workspace, model=None, *, data="data", code="ef", name="demo"):
    """The champion's state for a candidate that is this model, made of these data and code; None: before a training."""
    candidate = None if model is None else champion.Made(model, data, code)
    return champion.state(name, candidate, max_age_days=180, workspace=workspace)
