import os

from fer import child

# TensorFlow reads some of these once, when a test first makes it: in this process too, training must give the bits that
# it gives in a child.
os.environ.update(child.environment())

pytest_plugins = ["embedded_store_fixture", "prefect_fixture"]
