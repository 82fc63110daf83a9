import json
import os
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fer import errors
from fer.training import config as train_config
from fer.training import distributed

pytestmark = pytest.mark.slow

# One process: some steps of a model with batch norms, alone or under a strategy, on batches that all make alike; its
# weights go to a file.
SCRIPT = textwrap.dedent(
    """
    import os, sys
    from fer.engine import arithmetic
    devices, out = sys.argv[1:]
    os.environ.update(arithmetic.child_environment())
    import numpy as np
    import tensorflow as tf
    if devices == "all":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from fer.models import zoo
    from fer.models.networks import se_resnet
    from fer.training import config as train_config
    from fer.training import distributed, mixed_precision
    from fer.training import trainer as trainers
    import keras
    model = se_resnet.Config(stem_filters=4, widths=(4,), blocks=(1,), dropout=0)
    config = train_config.TrainConfig(model=model, batch_size=8, devices=devices, learning_rate=1e-2)
    strategy = distributed.strategy(config)
    keras.utils.set_random_seed(3)
    built = zoo.build(model, height=16, width=16, n_classes=3, mean=128, std=60)
    priors = np.full(3, 1 / 3, np.float32)
    with distributed.scope(strategy):
        model = mixed_precision.mixed_precision_copy(built, "float32", fuse=False, synchronise=strategy is not None)
    if strategy is None:
        trainer = trainers.LocalTrainer(model, config, priors, batch_size=8, micro_batch=8)
    else:
        trainer = distributed.StrategyTrainer(model, config, priors, batch_size=8, strategy=strategy)
    draw = np.random.default_rng(0)
    step_results = []
    for _ in range(6):
        pixels = draw.integers(0, 256, (8, 16, 16, 1)).astype(np.uint8)
        targets = np.eye(3, dtype=np.float32)[draw.integers(0, 3, 8)]
        weights = draw.uniform(0.5, 2, 8).astype(np.float32)
        step_results.append(trainer.step(pixels, targets, weights, 1e-2))
    if strategy is not None:
        index = int(os.environ.get("INDEX", 0))
        assert distributed.gather(strategy, 5 + index) == ([5, 5] if devices == "all" else [5, 6])
    np.savez(out, np.array(step_results), *model.get_weights())
    """
)


def started(tmp_path, name: str, devices: str, **environment: str) -> subprocess.Popen:
    script = tmp_path / "some_steps.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), devices, str(tmp_path / f"{name}.npz")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(tmp_path, processes: dict[str, subprocess.Popen]) -> dict[str, list[np.ndarray]]:
    """What each process saved; no process is left behind."""
    try:
        for process in processes.values():
            _, stderr = process.communicate(timeout=240)
            assert process.returncode == 0, stderr[-2_000:]
    finally:
        for process in processes.values():
            process.kill()
    arrays_of = {}
    for name in processes:
        with np.load(tmp_path / f"{name}.npz") as file:
            arrays_of[name] = [file[array_name] for array_name in file.files]
    return arrays_of


def free_ports(n_ports: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n_ports)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return ended(folder, {"alone": started(folder, "alone", "one")})["alone"]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    for here, there in zip(one, other, strict=True):
        np.testing.assert_allclose(here, there, atol=2e-4)


def test_two_workers_on_loopback_reach_the_weights_of_one_process_on_the_same_global_batches(tmp_path, alone):
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = {}
    for index in (0, 1):
        cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        processes[f"worker{index}"] = started(
            tmp_path, f"worker{index}", "workers", TF_CONFIG=json.dumps(cluster), INDEX=str(index)
        )
    weights_of = ended(tmp_path, processes)
    for one, other in zip(weights_of["worker0"], weights_of["worker1"], strict=True):
        np.testing.assert_array_equal(one, other)
    same(weights_of["worker0"], alone)


def test_two_devices_of_a_machine_reach_the_weights_of_one(tmp_path, alone):
    same(ended(tmp_path, {"both": started(tmp_path, "both", "all")})["both"], alone)


def test_workers_that_nobody_named_are_refused(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"task": {}}')
    with pytest.raises(errors.ConfigError, match=r"named by TF_CONFIG.*HOST:PORT"):
        distributed.strategy(train_config.TrainConfig(devices="workers"))


def test_one_device_needs_no_strategy():
    assert distributed.strategy(train_config.TrainConfig()) is None
