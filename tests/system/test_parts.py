"""What `make test-system` needs of the machine is told apart: left out, or demanded and missing."""

import asyncio

import pytest
import system_fixtures


def test_a_missing_part_is_skipped_or_demanded(monkeypatch):
    monkeypatch.delenv(system_fixtures.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install it"):
        system_fixtures.left_out("It", "apt-get install it")
    monkeypatch.setenv(system_fixtures.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="It is not on this machine"):
        system_fixtures.left_out("It", "apt-get install it")


def test_postgresql_asks_for_its_password(postgresql_url):
    import asyncpg

    plain = postgresql_url.replace("+asyncpg", "")

    async def ask(url: str) -> int:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval("SELECT 1")
        finally:
            await connection.close()

    assert asyncio.run(ask(plain)) == 1
    user, _, place = plain.partition("@")
    with pytest.raises(asyncpg.InvalidPasswordError):
        asyncio.run(ask(f"{user}x@{place}"))
