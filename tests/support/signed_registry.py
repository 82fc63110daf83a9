"""A registry whose releases and log are signed: keys, versions, and settings that trust them."""

import uuid

from fer.registry import registry
from fer.registry.manifest import Registration
from fer.registry.trust import keys


def registration(number=1, **more):
    """What a version says of itself."""
    defaults = {
        "status": "released",
        "reasons": ("accuracy 0.70, floor 0.6",),
        "registration_key": uuid.uuid4().hex,
        "model_digest": str(number),
        "recipe": {},
        "inputs": {},
        "code_fingerprint": "ef",
        "metrics": {"accuracy": 0.7, "macro": {"f1": 0.6}},
        "environment": {},
        "champion_at_registration": number - 1 or None,
    }
    return Registration.model_validate(defaults | more)


def released(models: registry.Registry, folder, number=1, **more):
    """The next version of `demo` with three files in it, made champion."""
    contents = {"model.keras": b"weights %d" % number, "metrics.json": b"{}", "verdict.json": b'{"passed": true}'}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    files = {name: folder / name for name in contents}
    manifest = models.register("demo", files, registration(number), by="run a (1)", **more)
    models.promote("demo", manifest.version, models.alias("demo"), by="run a (1)")
    return manifest


def require(monkeypatch, folder, store_settings):
    """A new key that signs and is trusted, by settings that require signatures; its file is `folder`/key."""
    key = keys.new()
    public = keys.write(key, folder / "key")
    keys.trust(keys.read_public(public), folder / "trusted", "ann")
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.delenv("FER_STORE_ENDPOINT", raising=False)
    monkeypatch.setenv("FER_SIGNING_KEY", str(folder / "key"))
    monkeypatch.setenv("FER_TRUSTED_KEYS", str(folder / "trusted"))
    monkeypatch.setenv("FER_SIGNATURES", "required")
    return key
