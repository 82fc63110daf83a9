"""The precision `auto` becomes what the machine is fast in, before anything is keyed or written."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from fer.recipes import catalog, overrides
from fer.training import hardware

AUTO = overrides.apply(catalog.load("demo"), overrides.parse_settings(["train.precision=auto"]))
OLD = "processor : 0\nflags\t\t: fma avx avx2\n"
ZEN_4 = "processor : 0\nflags\t\t: fma avx avx2 avx512f avx512_bf16\n"
AMX = "processor : 0\nflags\t\t: fma avx512_bf16 amx_bf16 amx_tile\n"


def no_driver(*_):
    raise hardware.pynvml.NVMLError(hardware.pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)


def driver(monkeypatch, capability=(9, 0), divided=0):
    """NVIDIA's driver with one GPU, which Keras has in this process only if the test says so."""
    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: f"GPU {index}",
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetCudaComputeCapability": lambda gpu: capability,
        "nvmlDeviceGetName": lambda gpu: f"NVIDIA {gpu}",
        "nvmlDeviceIsMigDeviceHandle": lambda gpu: gpu.startswith("MIG"),
        "nvmlDeviceGetMigMode": lambda gpu: (divided, divided),
        "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(free=123_456_789),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(hardware.pynvml, name, answer)


@pytest.fixture
def keras_has_it(monkeypatch):
    """A stand-in for Keras, which takes seconds to import."""
    distribution = SimpleNamespace(list_devices=lambda kind: ["gpu:0"])
    monkeypatch.setitem(sys.modules, "keras", SimpleNamespace(distribution=distribution))
    return distribution


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """One with AMX, without a driver of GPUs, and not asked before."""
    monkeypatch.setattr(hardware.pynvml, "nvmlInit", no_driver)
    monkeypatch.setattr(hardware.arithmetic, "_PROCESSOR", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(AMX)
    hardware.fastest_precision.cache_clear()
    yield tmp_path
    hardware.fastest_precision.cache_clear()


def gpu_of(capability, machine, monkeypatch):
    """A driver, and Keras' GPU of that capability, or None."""
    driver(monkeypatch)
    monkeypatch.setattr(hardware.child_process, "run", lambda *_, **__: capability)


@pytest.mark.parametrize(
    ("cpu", "precision"), [(AMX, "mixed-bfloat16"), (ZEN_4, "mixed-bfloat16"), (OLD, "float32"), ("", "float32")]
)
def test_the_processor_decides_where_there_is_no_gpu(machine, cpu, precision):
    (machine / "cpuinfo").write_text(cpu)
    assert AUTO.resolved().train.precision == precision


def test_a_system_that_does_not_say_what_its_processor_can_do_gets_float32(machine):
    (machine / "cpuinfo").unlink()
    assert AUTO.resolved().train.precision == "float32"


def test_what_a_processor_has_for_it_is_for_tensorflow_alone(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert AUTO.resolved().train.precision == "float32"


@pytest.mark.parametrize(
    ("capability", "cpu", "precision"),
    [
        (9.0, OLD, "mixed-bfloat16"),
        (8.0, OLD, "mixed-bfloat16"),
        (7.5, AMX, "float32"),
        (None, AMX, "mixed-bfloat16"),
        (None, OLD, "float32"),
    ],
)
def test_a_gpu_that_keras_has_decides(machine, monkeypatch, capability, cpu, precision):
    gpu_of(capability, machine, monkeypatch)
    (machine / "cpuinfo").write_text(cpu)
    assert AUTO.resolved().train.precision == precision


@pytest.mark.slow
def test_keras_is_asked_in_a_process_of_its_own_whether_it_has_a_gpu(machine, monkeypatch):
    driver(monkeypatch)  # where this TensorFlow sees no GPU
    (machine / "cpuinfo").write_text(OLD)
    assert hardware.fastest_precision() == "float32"


def test_the_driver_reports_the_gpu(keras_has_it, monkeypatch):
    driver(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert hardware.compute_capability(progress=lambda *_: None) == 9.0
    assert hardware.gpu_free_bytes() == 123_456_789
    assert hardware.gpu_name() == "NVIDIA GPU 1"


@pytest.mark.parametrize(("visible", "divided"), [("", 1), ("MIG-0a", 0)])
def test_a_part_of_a_gpu_has_a_name_and_no_figures_of_its_own(keras_has_it, monkeypatch, visible, divided):
    driver(monkeypatch, divided=divided)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert hardware.compute_capability(progress=lambda *_: None) is None
    assert hardware.gpu_free_bytes() is None
    assert hardware.gpu_name()


@pytest.mark.parametrize(
    "question", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetCudaComputeCapability", "nvmlDeviceGetMemoryInfo"]
)
def test_what_the_driver_does_not_report_is_not_known(keras_has_it, monkeypatch, question):
    driver(monkeypatch)
    monkeypatch.setattr(hardware.pynvml, question, no_driver)
    assert None in (hardware.compute_capability(progress=lambda *_: None), hardware.gpu_free_bytes())


def test_without_a_driver_or_keras_gpu_nothing_is_known(keras_has_it, monkeypatch):
    assert (hardware.gpu_name(), hardware.gpu_free_bytes()) == (None, None)
    driver(monkeypatch)
    keras_has_it.list_devices = lambda kind: []
    assert (hardware.gpu_name(), hardware.gpu_free_bytes()) == (None, None)


@pytest.mark.parametrize("own", ["float32", "mixed-bfloat16", "mixed-float16"])
def test_a_precision_that_is_named_stays(machine, own):
    (machine / "cpuinfo").write_text(OLD)
    recipe = overrides.apply(AUTO, overrides.parse_settings([f"train.precision={own}"]))
    assert recipe.resolved() == recipe


@pytest.mark.parametrize("name", catalog.NAMES)
def test_no_recipe_trains_in_an_arithmetic_that_the_machine_lacks(machine, name):
    (machine / "cpuinfo").write_text(OLD)
    assert catalog.load(name).resolved().train.precision == "float32"


class Tracker:
    """Counts what happens to it; `options` are what it was made with."""

    options: dict

    def __init__(self, **options):
        Tracker.options, self.calls = options, []

    def start(self):
        self.calls.append("start")

    def stop(self):
        self.calls.append("stop")
        self.final_emissions_data = SimpleNamespace(energy_consumed=0.25 if self.calls == ["start", "stop"] else 0)


@pytest.fixture
def codecarbon(monkeypatch):
    module = ModuleType("codecarbon")
    module.OfflineEmissionsTracker = Tracker
    monkeypatch.setitem(sys.modules, "codecarbon", module)


@pytest.mark.usefixtures("codecarbon")
def test_energy_is_measured_offline_where_codecarbon_is_installed():
    with hardware.metered() as meter:
        assert meter.kwh is None
    assert meter.kwh == 0.25
    assert Tracker.options["save_to_file"] is False


@pytest.mark.usefixtures("codecarbon")
def test_a_training_that_fails_ends_the_measurement():
    with pytest.raises(KeyError), hardware.metered() as meter:
        raise KeyError
    assert meter.kwh == 0.25


def test_without_codecarbon_nothing_is_measured(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with hardware.metered() as meter:
        pass
    assert meter.kwh is None
