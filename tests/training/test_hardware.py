"""The precision `auto` becomes what the machine is fast in, before anything is keyed or written."""

import pytest

from fer.recipes import catalog, overrides
from fer.training import hardware

AUTO = overrides.apply(catalog.load("demo"), overrides.parse_settings(["train.precision=auto"]))
OLD = "processor : 0\nflags\t\t: fma avx avx2\n"
AMX = "processor : 0\nflags\t\t: fma avx512_bf16 amx_bf16 amx_tile\n"


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """One with AMX, without a driver of GPUs, and not asked before."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(hardware.arithmetic, "_PROCESSOR", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(AMX)
    hardware.fastest_precision.cache_clear()
    yield tmp_path
    hardware.fastest_precision.cache_clear()


def gpu_of(capability, machine, monkeypatch):
    """A driver, and Keras' GPU of that capability, or None."""
    (machine / "nvidia-smi").write_text("#!/bin/sh\n")
    (machine / "nvidia-smi").chmod(0o755)
    monkeypatch.setattr(hardware.child_process, "run", lambda *_, **__: capability)


@pytest.mark.parametrize(("cpu", "found"), [(AMX, "mixed-bfloat16"), (OLD, "float32"), ("", "float32")])
def test_the_processor_decides_where_there_is_no_gpu(machine, cpu, found):
    (machine / "cpuinfo").write_text(cpu)
    assert AUTO.resolved().train.precision == found


def test_a_system_that_does_not_say_what_its_processor_can_do_gets_float32(machine):
    (machine / "cpuinfo").unlink()
    assert AUTO.resolved().train.precision == "float32"


def test_the_units_of_a_processor_are_for_tensorflow_alone(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert AUTO.resolved().train.precision == "float32"


@pytest.mark.parametrize(
    ("capability", "cpu", "found"),
    [
        (9.0, OLD, "mixed-bfloat16"),
        (8.0, OLD, "mixed-bfloat16"),
        (7.5, AMX, "float32"),
        (None, AMX, "mixed-bfloat16"),
        (None, OLD, "float32"),
    ],
)
def test_a_gpu_that_keras_has_decides(machine, monkeypatch, capability, cpu, found):
    gpu_of(capability, machine, monkeypatch)
    (machine / "cpuinfo").write_text(cpu)
    assert AUTO.resolved().train.precision == found


def test_keras_is_asked_in_a_process_of_its_own_whether_it_has_a_gpu(machine):
    (machine / "nvidia-smi").write_text("#!/bin/sh\necho 9.0\n")
    (machine / "nvidia-smi").chmod(0o755)  # a driver, where this TensorFlow sees no GPU
    (machine / "cpuinfo").write_text(OLD)
    assert hardware.fastest_precision() == "float32"


@pytest.mark.parametrize(("said", "found"), [("9.0", 9.0), ("[N/A]", None), (None, None)])
def test_the_driver_says_what_the_gpu_can_do(monkeypatch, said, found):
    monkeypatch.setattr(hardware, "gpu_field", {"compute_cap": said}.get)
    assert hardware.compute_capability(progress=lambda *_: None) == found


@pytest.mark.parametrize("own", ["float32", "mixed-bfloat16", "mixed-float16"])
def test_a_precision_that_is_named_stays(machine, own):
    (machine / "cpuinfo").write_text(OLD)
    plan = overrides.apply(AUTO, overrides.parse_settings([f"train.precision={own}"]))
    assert plan.resolved() == plan


@pytest.mark.parametrize("name", catalog.NAMES)
def test_no_recipe_trains_in_an_arithmetic_that_the_machine_lacks(machine, name):
    (machine / "cpuinfo").write_text(OLD)
    assert catalog.load(name).resolved().train.precision == "float32"
