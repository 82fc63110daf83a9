import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import errors
from fer.models.networks import se_resnet
from fer.recipes import catalog, overrides, schema


def changed(*assignments: str) -> schema.Recipe:
    return overrides.apply(catalog.load("demo"), overrides.parse_settings(assignments))


def test_settings_take_the_place_of_the_recipes_own_at_every_depth():
    demo = catalog.load("demo")
    recipe = changed(
        "train.epochs=3", "train.model.width=8", "balance.target=median", 'demo.images_per_class={"sad": 5}'
    )
    assert recipe.train.epochs == 3
    assert recipe.train.model.width == 8
    assert recipe.train.model.blocks == demo.train.model.blocks
    assert recipe.balance.target == "median"
    assert recipe.demo.images_per_class == {"sad": 5}
    assert recipe.preprocess == demo.preprocess


def test_no_settings_leave_the_recipe_as_it_is():
    demo = catalog.load("demo")
    assert overrides.apply(demo, None) == demo
    assert changed() == demo


def test_a_name_for_the_registry_takes_the_place_of_the_recipes():
    demo = catalog.load("demo")
    assert overrides.apply(demo, None, "faces-2024") == demo.model_copy(update={"model_name": "faces-2024"})


@pytest.mark.parametrize("name", ["", "Faces", "a/b", "../up", "a b", "-a", "a" * 64, "demo\n"])
def test_a_name_that_the_registry_does_not_take_is_refused(name):
    with pytest.raises(errors.ConfigError, match="model_name must be valid"):
        overrides.apply(catalog.load("demo"), None, name)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.epochs", r"form section\.field=value"),
        ("epochs=5", r"form section\.field=value"),
        ("train.epoch=5", r"one that the recipe has\. Received: train\.epoch=5\. Next: take train\.epochs"),
        ("train.model.drop_out=0.5", r"take train\.model\.dropout"),
        ("training.epochs=5", r"one that the recipe has\. Received: training=.* take train\."),
        ("train.model.squeeze=4", r"Received: train\.model\.squeeze=4\. Next: take one of name, width, "),
        ("train.model.blocks=[1]", r"train\.model\.blocks must be valid.* integer"),
        ("zzz.epochs=5", r"Received: zzz=.* take one of demo, index, "),
        ("train.epochs=many", r"train\.epochs.* must be valid.*'many'"),
        ("train.epochs=0", r"train\.epochs must be valid.*greater than or equal to 1"),
        ("preprocess.blur_kernel=4", r"preprocess\.blur_kernel must be valid.*odd"),
        ("train=5", r"form section\.field=value"),
        ("train.epochs.more=1", r"train\.epochs"),
        ("train.weights=null", r"must have a value.*'train\.weights=null'"),
        ("train.model.widths=[0]", r"train\.model\.widths.*greater than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_received(assignment, message):
    with pytest.raises(errors.ConfigError, match=message):
        changed(assignment)


@pytest.mark.parametrize("name", catalog.NAMES)
def test_what_is_shown_of_a_recipe_is_every_setting_as_the_command_takes_it(name):
    recipe = catalog.load(name)
    shown = overrides.list_settings(recipe)
    assignments = [f"{setting.path}={setting.value}" for setting in shown if setting.value is not None]
    about = {name: getattr(recipe, name) for name in ("name", "model_name", "made_for", "search")}
    assert (
        overrides.apply(catalog.load("demo"), overrides.parse_settings(assignments)).model_copy(update=about) == recipe
    )
    assert {setting.path for setting in shown} >= {"train.timeout_s", "train.augmentation.shift"}
    assert [setting.path for setting in shown if not setting.meaning] == []


def test_a_setting_of_a_section_and_of_its_field_is_one_error():
    with pytest.raises(errors.ConfigError):
        changed("train.model=5", "train.model.width=5")


@given(st.text(max_size=40))
def test_any_text_is_a_setting_or_a_config_error(text):
    with contextlib.suppress(errors.ConfigError):
        overrides.parse_settings([text])


@given(st.integers(1, 1_000), st.floats(1e-6, 1.0), st.integers(0, 2**31))
def test_numbers_pass_through_unchanged(epochs, rate, seed):
    recipe = changed(f"train.epochs={epochs}", f"train.learning_rate={rate!r}", f"train.seed={seed}")
    assert (recipe.train.epochs, recipe.train.learning_rate, recipe.train.seed) == (epochs, rate, seed)


def test_another_model_takes_its_own_defaults_and_none_of_the_old_ones_fields():
    recipe = changed("train.model.name=se-resnet", "train.model.widths=[8,16]", "train.model.blocks=[1,1]")
    assert recipe.train.model == se_resnet.Config(widths=(8, 16), blocks=(1, 1))
    assert changed("train.model.name=sequential-cnn", "train.model.width=7").train.model.blocks == 3
    with pytest.raises(errors.ConfigError, match=r"Received: train\.model\.width=4\. Next: take train\.model\.widths"):
        changed("train.model.name=vgg", "train.model.width=4")
    with pytest.raises(errors.ConfigError, match=r"train\.model\.name.*'mobilenet-v2'.*'vgg'.*Received: 'nix'"):
        changed("train.model.name=nix")


@pytest.mark.parametrize("origin", [[], ["train.weights_origin=  "]])
def test_weights_from_a_file_are_refused_before_anything_runs_unless_their_origin_is_declared(origin):
    with pytest.raises(errors.ConfigError, match=r"train\.weights=some\.h5 without train\.weights_origin"):
        changed("train.weights=some.h5", *origin)
    train_config = changed("train.weights=some.h5", "train.weights_origin=other faces").train
    assert (train_config.weights, train_config.weights_origin) == ("some.h5", "other faces")
    for known in ("imagenet", "registry:mine@champion"):
        assert changed(f"train.weights={known}").train.weights == known


def test_phases_are_set_as_a_whole():
    recipe = changed('train.phases=[{"epochs":2,"train_from":"head"},{"epochs":3,"learning_rate":0.0001}]')
    assert [(phase.epochs, phase.train_from) for phase in recipe.train.resolved_phases] == [(2, "head"), (3, "start")]
    assert [phase.learning_rate for phase in recipe.train.resolved_phases] == [recipe.train.learning_rate, 1e-4]


CHANGES = (
    "train.epochs=5",
    "train.timeout_s=77.5",
    "train.model.name=vgg",
    "train.model.name=mini-xception",
    "train.model.stem_filters=16",
    "train.weights=registry:a b's@1",
    "train.weights_origin=a b's",
    'train.phases=[{"epochs":2,"train_from":"head"},{"epochs":3,"learning_rate":0.0001}]',
    "train.augmentation.shift=0",
    "balance.target=median",
    'demo.images_per_class={"sad": 5}',
    'index.classes=["happy", "ä"]',
    "split.seed=7",
)


@given(st.sampled_from(catalog.NAMES), st.lists(st.sampled_from(CHANGES), max_size=6))
def test_the_settings_that_make_one_recipe_of_another_are_found_again(name, changes):
    base = recipe = catalog.load(name)
    for change in changes:
        with contextlib.suppress(errors.ConfigError):  # a field that the model at hand does not have
            recipe = overrides.apply(recipe, overrides.parse_settings([change]))
    assignments = overrides.assignments(recipe, base)
    assert overrides.apply(base, overrides.parse_settings(assignments)) == recipe
    assert overrides.assignments(base, base) == []


def test_a_number_of_thousands_of_digits_is_a_config_error():
    with pytest.raises(errors.ConfigError, match=r"train\.epochs"):
        changed(f"train.epochs=1{'0' * 5000}")


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("index.classes=[happy,sad]", {"classes": ("happy", "sad")}),
        ("index.classes=[happy, 'very sad', \"so-so\"]", {"classes": ("happy", "very sad", "so-so")}),
        ("index.synonyms={0: happy, suprise: sad}", {"synonyms": {"0": "happy", "suprise": "sad"}}),
        ("index.label_pattern=[_]([a-z]+)[0-9]", {"label_pattern": "[_]([a-z]+)[0-9]"}),
        ('index.classes=["yes", "no"]', {"classes": ("yes", "no")}),
        ("index.classes=[yes, no]", {"classes": ("yes", "no")}),
    ],
)
def test_a_list_or_mapping_may_be_written_without_inner_quotes(assignment, expected):
    index = overrides.parse_settings([assignment]).index
    assert {name: value for name, value in index if value is not None} == expected


def test_the_form_says_of_each_setting_its_values_in_the_named_recipes_and_titles_what_it_offers():
    schema = overrides.RecipeSettings.model_json_schema()
    kinds = schema["$defs"]
    epochs = kinds["TrainConfigSettings"]["properties"]["epochs"]
    assert epochs["title"] == "epochs"
    assert f"`{catalog.load('demo').train.epochs}` (demo)" in epochs["description"]
    assert kinds["ConfigSettings"]["title"] == "settings of train.model, of any kind"
    assert all(section["description"] for section in schema["properties"].values())
