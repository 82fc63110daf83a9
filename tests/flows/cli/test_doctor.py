"""`fer doctor`: what is missing, and the fix."""

import http.server
import threading

import pytest
from shell import fer, give_prefect_database

from fer import errors, settings
from fer.engine.store import objectstore, probing
from fer.registry.trust import keys
from flows.cli import doctor, temporary_server


@pytest.mark.slow
def test_the_doctor_finds_nothing_wrong_on_a_fresh_machine(tmp_path):
    give_prefect_database(tmp_path)
    run = fer("doctor", home=tmp_path)
    assert run.returncode == 0, run.stdout
    for check in ("python", "workspace", "store", "kaggle", "kaggle.com", "prefect", "telemetry"):
        assert f" {check} " in run.stdout
    assert not (tmp_path / "fer").exists()


@pytest.mark.slow
def test_the_doctor_finds_what_does_not_answer_and_names_the_fix(tmp_path):
    down = {"FER_STORE_ENDPOINT": "http://127.0.0.1:9", "PREFECT_API_URL": "http://u:s3cret@127.0.0.1:9/api"}
    run = fer("doctor", home=tmp_path, **down, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="s3cret-s3cret")
    assert run.returncode == 1
    assert "make ui" in run.stdout
    assert "s3cret" not in run.stdout


def test_settings_that_are_not_valid_are_findings_and_the_others_are_examined(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.setenv("FER_STORE_ENDPOINT", "ftp://example.org")
    monkeypatch.setenv("FER_STORE_SECRET_ACCESS_KEY", "hunter2")
    examined = {}

    def noted(name):
        def finding(*arguments):
            examined[name] = arguments
            return doctor.Finding("ok", name, "")

        return finding

    for name in ("_store", "_kaggle_answer", "_temporary_server"):
        monkeypatch.setattr(doctor, name, noted(name))
    findings = doctor.examine()
    failed = [finding for finding in findings if finding.level == "fail"]
    assert [finding.subject for finding in failed] == ["setting", "setting"]
    assert "FER_STORE_ENDPOINT" in failed[0].text
    assert "both or neither" in failed[1].text
    assert "hunter2" not in str(findings)
    assert examined["_store"][0].home == tmp_path.resolve()
    assert examined["_store"][0].store_endpoint is None
    assert [finding.text for finding in findings if finding.level == "ok" and finding.subject == "setting"] == [
        f"FER_HOME={tmp_path.resolve()}"
    ]


def test_the_doctor_says_why_a_temporary_server_does_not_start(monkeypatch):
    def broken():
        raise errors.PrefectUnavailable("It must start.", received="unable to open database file", todo="look")

    monkeypatch.setattr(temporary_server, "start", broken)
    finding = doctor._temporary_server()
    assert finding.level == "fail"
    assert "unable to open database file" in finding.fix


def test_the_doctor_asks_whether_kaggle_answers_without_a_key(monkeypatch):
    asked = []

    class Kaggle(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(dict(self.headers))
            self.send_response(302)
            self.end_headers()

        def log_message(self, *_):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "c0ffee")
    with http.server.HTTPServer(("127.0.0.1", 0), Kaggle) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(doctor, "_KAGGLE", f"http://127.0.0.1:{server.server_port}")
        assert doctor._kaggle_answer().level == "ok"
        server.shutdown()
    assert len(asked) == 1
    assert "Authorization" not in asked[0]
    assert "c0ffee" not in str(asked)
    assert doctor._kaggle_answer().level == "warn"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://x", "http://127.0.0.1:9"])
def test_the_doctor_survives_any_proxy(monkeypatch, proxy):
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert doctor._kaggle_answer().level == "warn"


def test_a_store_that_ignores_conditions_is_found_before_the_run_and_by_the_doctor(monkeypatch, tmp_path):
    from tasks import registry

    monkeypatch.setattr(objectstore.ObjectStore, "ping", lambda self: None)
    monkeypatch.setattr(probing, "fault", lambda store: "a put accepted")
    monkeypatch.setenv("FER_STORE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    with pytest.raises(errors.StoreError, match="conditional puts"), registry.store_in_reach():
        pass
    configured = settings.Settings.load()
    finding = doctor._store(configured, configured)
    assert finding.level == "fail"
    assert "conditional puts" in finding.fix


def test_the_doctor_looks_for_the_keys_that_the_settings_name(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    assert doctor._signatures(settings.Settings.load()) == []
    monkeypatch.setenv("FER_SIGNATURES", "required")
    assert "fer keys trust" in doctor._signatures(settings.Settings.load())[0].fix
    key = keys.new()
    keys.trust(key.public, tmp_path / "trusted-keys")
    (finding,) = doctor._signatures(settings.Settings.load())
    assert (finding.level, finding.text) == (
        "ok",
        "required; 1 trusted; no key to sign with: models are used here, and none is made",
    )
    keys.write(key, tmp_path / "key")
    monkeypatch.setenv("FER_SIGNING_KEY", str(tmp_path / "key"))
    assert doctor._signatures(settings.Settings.load())[0].text.endswith(f"signs by {key.public.id}")
    (tmp_path / "key").chmod(0o644)
    (finding,) = doctor._signatures(settings.Settings.load())
    assert finding.level == "fail"
    assert "chmod 600" in finding.fix
