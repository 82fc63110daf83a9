"""How Sphinx builds these pages: `make docs`. Nothing is fetched: no inventory, font or script from elsewhere."""

import os
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_extensions"), str(HERE.parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Before autodoc is at work: models of pydantic that are made after it has looked at others can't be made any more.
import prefect.server.api.server  # noqa: E402, F401 - imported early, and for that alone

_project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]

project = _project["name"]
version = release = _project["version"]
copyright = "the contributors of fer-retraining"

extensions = ["myst_parser", "sphinx.ext.autodoc", "plain_docstrings", "documented", "reference", "import_graph"]
extensions += ["corruption_table"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3  # `page.md#a-heading` works as it does where Markdown is shown without Sphinx

smartquotes = False  # a docstring shows `--set` as it is typed

html_theme = "furo"
html_title = "fer-retraining"
html_theme_options = {"top_of_page_buttons": []}
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False

nitpicky = True
nitpick_ignore_regex = [
    # Other projects' names: their inventories would have to be fetched.
    (r"py:.*", r"(?!(fer|flows|tasks|data_contracts)\.)[\w.]+"),
    # Private names, type variables and the generated classes of settings have no entry.
    (r"py:.*", r".*\._\w+"),
    (r"py:.*", r".*\.([A-Z]|\w+T)"),
    (r"py:.*", r".*\.\w+ConfigSettings"),
    # What autodoc leaves of a type that holds others when it cuts it at the comma.
    (r"py:.*", r"[\w.]+\[.*"),
]
