import numpy as np
import pytest

from fer.models import grad_cam, zoo

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.slow

SIZE = 32
LAYERS = {
    "sequential-cnn": "block3b_relu",
    "mini-xception": "class_maps",
    "mobilenet-v2": "out_relu",
    "resnet50": "conv5_block3_out",
    "se-resnet": None,
    "vgg": None,
}


def pixels(n: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 1), np.uint8)


def network(name: str, size: int = SIZE):
    return zoo.build(zoo.config(name), height=size, width=size, n_classes=3, mean=128.0, std=64.0)


def with_pool(**options):
    """A convolution, a mean over its places and a dense layer: then Grad-CAM is the sum of maps by its weights."""
    given = keras.Input((SIZE, SIZE, 1))
    small = keras.layers.Rescaling(1 / 255)(given)
    maps = keras.layers.Conv2D(4, 3, activation="relu", padding="same", name="maps")(small)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(maps)
    return keras.Model(given, keras.layers.Dense(3, activation="softmax", name="probabilities", **options)(pooled))


def test_of_a_network_that_ends_in_a_mean_over_places_it_is_the_maps_by_the_weights_of_the_class():
    model = with_pool()
    images, classes = pixels(5), np.array([0, 1, 2, 2, 0])
    cam = grad_cam.GradCam(model, batch_size=2)
    assert (cam.layer, cam.height, cam.width) == ("maps", SIZE, SIZE)
    heat = cam.heat(images, classes)
    maps = keras.Model(model.inputs, model.get_layer("maps").output).predict_on_batch(images)
    kernel = model.get_layer("probabilities").get_weights()[0]
    expected = np.maximum(np.einsum("nhwc,cn->nhw", maps, kernel[:, classes]), 0)
    expected /= np.maximum(expected.max(axis=(1, 2), keepdims=True), 1e-12)
    np.testing.assert_allclose(heat, expected, atol=1e-4)


@pytest.mark.parametrize("ending", ["softmax layer", "activation layer", "dense layer", "no softmax"])
def test_the_score_is_what_goes_into_the_softmax_however_the_network_ends(ending):
    dense = with_pool()
    given, pooled = dense.inputs, dense.get_layer("pool").output
    linear = keras.layers.Dense(3)
    scores = linear(pooled)
    outputs = {
        "softmax layer": keras.layers.Softmax()(scores),
        "activation layer": keras.layers.Activation("softmax")(scores),
        "dense layer": dense.output,
        "no softmax": keras.layers.Dense(3, activation="sigmoid", name="sigmoid")(pooled),
    }
    model = keras.Model(given, outputs[ending])
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.set_weights(dense.get_layer("probabilities").get_weights())
    images, classes = pixels(3), np.array([0, 1, 2])
    heat = grad_cam.GradCam(model, batch_size=3).heat(images, classes)
    np.testing.assert_allclose(heat, grad_cam.GradCam(dense, batch_size=3).heat(images, classes), atol=1e-4)


@pytest.mark.parametrize("name", zoo.KINDS)
def test_every_network_of_the_zoo_has_maps(name):
    model = network(name, 48)
    before = [weights.copy() for weights in model.get_weights()]
    cam = grad_cam.GradCam(model, batch_size=2)
    assert cam.layer == (LAYERS.get(name) or cam.layer)
    assert cam.height * cam.width > 1
    heat = cam.heat(pixels(3, 48), np.array([0, 1, 2]))
    assert heat.shape == (3, cam.height, cam.width)
    assert np.isfinite(heat).all()
    assert heat.min() >= 0
    assert set(heat.max(axis=(1, 2)).tolist()) <= {0.0, 1.0}
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_network_within_a_network_is_a_layer():
    given = keras.Input((SIZE, SIZE, 1))
    inner_input = keras.Input((SIZE, SIZE, 1))
    inner = keras.Model(inner_input, keras.layers.Conv2D(4, 3, strides=4)(inner_input), name="backbone")
    x = keras.layers.Flatten(name="flatten")(inner(given))
    model = keras.Model(given, keras.layers.Dense(3, activation="softmax", name="probabilities")(x))
    cam = grad_cam.GradCam(model, batch_size=4)
    assert (cam.layer, cam.height, cam.width) == ("backbone", 8, 8)
    assert cam.heat(pixels(4), np.array([0, 1, 2, 0])).shape == (4, 8, 8)


def test_a_network_without_a_convolution_has_no_maps():
    given = keras.Input((SIZE, SIZE, 1))
    x = keras.layers.Flatten(name="flatten")(keras.layers.AveragePooling2D(2)(given))
    model = keras.Model(given, keras.layers.Dense(3, activation="softmax", name="probabilities")(x))
    assert grad_cam.feature_layer(model) is None
    with pytest.raises(ValueError, match="convolution"):
        grad_cam.GradCam(model, batch_size=1)


def test_neither_the_batch_nor_its_order_matters():
    model = network("sequential-cnn")
    images, classes = pixels(5), np.array([0, 1, 2, 2, 0])
    whole = grad_cam.GradCam(model, batch_size=5).heat(images, classes)
    parts = grad_cam.GradCam(model, batch_size=2).heat(images[::-1], classes[::-1])[::-1]
    np.testing.assert_allclose(parts, whole, atol=1e-4)
