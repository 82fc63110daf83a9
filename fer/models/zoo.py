"""The zoo: every network that a recipe can name, the project's own and those of installed packages.

A network is a module with a `Config` (a `fer.models.config.ModelConfig` whose `name` is the network's) and
`build(config, *, height, width, n_classes, mean, std) -> keras.Model`. The project's own are the modules of
`fer.models.networks`; a package brings others by an entry point of the group `fer.models`. A module is imported where a
recipe is read, so it imports Keras within its functions only.

A model takes grey pixels (N, H, W, 1), 0-255, uint8 or float; normalises them itself; and ends in softmax
probabilities (N, classes). It is made of Keras 3's own layers only, so that it loads in safe mode. Its last layers are
"pool" or "flatten", what may stand between, and "probabilities", which stays float32 in mixed precision.

Where the published weights of a network name the layers of a model without a top, its module also has
`backbone_for_weights(config) -> keras.Model`, which makes that model.
"""

import functools
import importlib
import importlib.metadata
import operator
import pkgutil
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fer import errors
from fer.models import model_file, networks
from fer.models.config import ModelConfig

if TYPE_CHECKING:
    import keras

ENTRY_POINTS = "fer.models"
DEFAULT = "sequential-cnn"


def _kinds() -> dict[str, type[ModelConfig]]:
    """Every network's `Config` by its name, the project's own first. What can't be used is left out with a warning."""
    # No list of them: a key of training holds this module, and another network must not change it.
    modules = sorted(module.name for module in pkgutil.iter_modules(networks.__path__))
    kinds = {name.replace("_", "-"): _config_of(f"{networks.__name__}.{name}") for name in modules}
    for point in sorted(
        importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)
    ):
        try:
            if point.name in kinds:
                raise TypeError(f"the name is taken by {kinds[point.name].__module__}")
            config = _config_of(point.module)
            if getattr(config.model_fields["name"], "default", None) != point.name:
                raise TypeError(f"its Config must have the name {point.name!r}")
        except Exception as error:  # noqa: BLE001 - whatever a package raises, the other networks can be used
            distribution = "a package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
            warnings.warn(
                f"The model {point.name!r} ({point.value}) of {distribution} can't be used: "
                f"{type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
        else:
            kinds[point.name] = config
    return kinds


def _config_of(module: str) -> type[ModelConfig]:
    """The `Config` of a network's module. Raises TypeError for a module that is no network's."""
    network = importlib.import_module(module)
    config = getattr(network, "Config", None)
    if not (isinstance(config, type) and issubclass(config, ModelConfig) and callable(getattr(network, "build", None))):
        raise TypeError(f"{module} must have a Config, a subclass of fer.models.config.ModelConfig, and a build")
    if config.__module__ != module:  # by this name it is found again, for `build` and for the key of training
        raise TypeError(f"{module} must define its Config itself, not import it from {config.__module__}")
    return config


KINDS = _kinds()

if TYPE_CHECKING:
    AnyModelConfig = ModelConfig
else:
    AnyModelConfig = Annotated[functools.reduce(operator.or_, KINDS.values()), Field(discriminator="name")]


def default() -> ModelConfig:
    """The config of the network that is trained where none is named."""
    return config(DEFAULT)


def config(name: str, **settings: Any) -> ModelConfig:
    """The config of the network `name` with some `settings` in place of its defaults.

    Raises ConfigError for an unknown name, pydantic's ValidationError for settings that are not valid.
    """
    if name not in KINDS:
        raise errors.ConfigError(
            "The model must be known.", received=repr(name), todo=f"take one of {', '.join(KINDS)}"
        )
    return KINDS[name](**settings)


def module_of(config: ModelConfig) -> ModuleType:
    """The module of the network that `config` names."""
    return importlib.import_module(type(config).__module__)


def build(config: ModelConfig, *, height: int, width: int, n_classes: int, mean: float, std: float) -> "keras.Model":
    """Build the model that `config` names for (height, width) pixels of the given mean and std (0-255).

    Raises ConfigError for a model that is not as every model here must be.
    """
    model: keras.Model = module_of(config).build(
        config, height=height, width=width, n_classes=n_classes, mean=mean, std=std
    )
    _check(model, config, (height, width, 1), n_classes)
    return model


def _check(model: "keras.Model", config: ModelConfig, shape: tuple[int, int, int], n_classes: int) -> None:
    """Raise ConfigError now for what would fail after the training, when the model is loaded or scored."""
    import keras

    foreign = sorted(set(model_file.foreign(keras.saving.serialize_keras_object(model))))
    names = [layer.name for layer in model.layers]
    problem = None
    if foreign:
        problem = f"code of its own: {', '.join(foreign)}"
    elif (model.input_shape, model.output_shape) != ((None, *shape), (None, n_classes)):
        problem = f"input {model.input_shape} and output {model.output_shape} for {shape} and {n_classes} classes"
    elif names[-1] != "probabilities" or not {"pool", "flatten"} & set(names):
        problem = f"the last layers {', '.join(names[-3:])}"
    if problem is not None:
        raise errors.ConfigError(
            "A model must take (height, width, 1) pixels, be made of Keras's own layers and functions without Lambda, "
            "and end in a layer 'pool' or 'flatten' and one 'probabilities', one value per class.",
            received=f"{config.name} with {problem}",
            todo=f"correct {type(config).__module__}, or take another train.model",
        )
