"""Recipe files that are no recipes, or hold what no recipe may; all end in a ConfigError or LabelError."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A TOML file and what its refusal says."""

    name: str
    make: Callable[[], bytes]
    message: str


def _extending(text: str) -> Callable[[], bytes]:
    return lambda: f'extends = "demo"\n{text}\n'.encode()


RECIPES = (
    Recipe("recipe-empty", lambda: b"", "must have the setting"),
    Recipe("recipe-words", lambda: b"not found", "must be TOML"),
    Recipe("recipe-bytes", lambda: bytes(range(256)), "UTF-8|TOML"),
    Recipe("recipe-utf-16", lambda: 'extends = "demo"'.encode("utf-16"), "UTF-8|TOML"),
    Recipe("recipe-nul", lambda: b'extends = "demo\0"', "must be TOML"),
    Recipe("recipe-controls", _extending('name = "\\u001b[2J"'), "name must"),
    Recipe("recipe-name-leading-out", _extending('name = "../../x"'), "name must"),
    Recipe("recipe-name-long", _extending(f'name = "{"x" * 90_000}"'), "name must"),
    Recipe("recipe-large", lambda: b"#" * 100_001, "at most 100,000 bytes"),
    Recipe("recipe-of-brackets", lambda: b"a = " + b"[" * 90_000, "must be TOML"),
    Recipe("recipe-of-tables", lambda: b"[" + b"a." * 9_000 + b"a]", "."),
    Recipe("recipe-of-keys", lambda: b"\n".join(b"k%d = 1" % n for n in range(9_000)), "no other fields"),
    Recipe("recipe-long-number", lambda: b"a = " + b"9" * 90_000, "."),
    Recipe("recipe-unknown-field", _extending("[train]\nepoch = 3"), "epoch"),
    Recipe("recipe-unknown-section", _extending("[trian]\nepochs = 3"), "trian"),
    Recipe("recipe-nan", _extending("[train]\nlearning_rate = nan"), "learning_rate"),
    Recipe("recipe-infinite", _extending("[train]\nlearning_rate = inf"), "learning_rate"),
    Recipe("recipe-epochs-of-billions", _extending("[train]\nepochs = 99999999999999"), "epochs"),
    Recipe("recipe-epochs-negative", _extending("[train]\nepochs = -1"), "epochs"),
    Recipe("recipe-size-of-billions", _extending("[preprocess]\nheight = 1000000"), "height"),
    Recipe("recipe-filters-of-billions", _extending('[train.model]\nname = "vgg"\nwidths = [1000000000]'), "widths"),
    Recipe("recipe-pattern-broken", _extending('[index]\nsubject_pattern = "("'), "subject_pattern"),
    Recipe("recipe-pattern-deep", _extending(f'[index]\nsubject_pattern = "{"(" * 5_000}"'), "subject_pattern"),
    Recipe("recipe-model-unknown", _extending('[train.model]\nname = "os.system"'), "os.system"),
    Recipe("recipe-extends-itself", lambda: b'extends = "recipe.toml"', "must not extend itself"),
    Recipe("recipe-extends-elsewhere", lambda: b'extends = "/etc/passwd.toml"', "must be there"),
    Recipe("recipe-extends-a-list", lambda: b'extends = ["demo"]', "extends must be"),
    Recipe("recipe-extends-nothing", lambda: b'extends = "no-such-recipe"', "no-such-recipe"),
)
