import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from flows.operating import database, installation, run_service


def test_the_file_is_that_of_the_installation_or_of_the_environment(tmp_path):
    home = tmp_path / "fer"
    (home / "installation").mkdir(parents=True)
    assert database.sqlite_file(home, {"PREFECT_HOME": str(tmp_path)}) == tmp_path / "prefect.db"
    installation.save(home, installation.Installation(prefect_home=tmp_path / "own"))
    assert database.sqlite_file(home, {"PREFECT_HOME": str(tmp_path)}) == tmp_path / "own" / "prefect.db"
    named = {installation.DATABASE: "sqlite+aiosqlite:////data/runs.db?cache=shared"}
    assert str(database.sqlite_file(home, named)) == "/data/runs.db"
    assert database.sqlite_file(home, {installation.DATABASE: "postgresql+asyncpg://user:word@host/prefect"}) is None


@pytest.mark.slow
def test_a_process_that_has_the_database_open_is_found_and_so_is_the_lock_of_a_server(tmp_path):
    path = tmp_path / "prefect.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE run (name TEXT)")
        connection.commit()
    assert database.users(path) == []
    opens = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM run')"
    locks = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX)"
    for code, file, found in ((opens, path, "process"), (locks, tmp_path / run_service.LOCK, "the server")):
        command = [sys.executable, "-c", f"{code}; print(1, flush=True); input()", str(file)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            [user] = database.users(path)
            assert user.startswith(found)
            process.communicate(b"\n")
    assert database.users(path) == []
