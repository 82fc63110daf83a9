"""The signing key in a Prefect Secret."""

import pytest
from prefect.blocks.system import Secret

from fer import errors
from fer.registry.trust import keys
from tasks import signing


def test_a_run_signs_by_the_key_in_a_secret(prefect_server):
    key = keys.new()
    Secret(value=key.pem().decode()).save("fer-signing", overwrite=True)
    signing.know_secrets()
    assert keys.signing_key("secret:fer-signing").public == key.public


def test_a_secret_that_is_not_there_is_named_and_one_that_holds_no_key_is_not_shown(prefect_server):
    signing.know_secrets()
    with pytest.raises(errors.ConfigError, match=r"'secret:no-such'.*prefect block ls"):
        keys.signing_key("secret:no-such")
    Secret(value="hunter2").save("fer-no-key", overwrite=True)
    with pytest.raises(errors.ConfigError, match="something else in the secret 'secret:fer-no-key'") as refused:
        keys.signing_key("secret:fer-no-key")
    assert "hunter2" not in str(refused.value)


def test_a_key_in_the_place_of_the_name_of_its_secret_is_not_shown():
    signing.know_secrets()
    body = keys.new().pem().decode().splitlines()[1]
    with pytest.raises(errors.ConfigError, match="not shown") as refused:
        keys.signing_key(f"secret:{body}")
    assert body not in str(refused.value)
