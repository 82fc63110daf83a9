"""What people are told of, on a real server: by webhooks, without sources, errors' texts or keys."""

import contextlib
import http.server
import json
import threading
import time
import uuid

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.actions import CallWebhook, RunDeployment, SendNotification
from prefect.states import Failed

from flows.operating import installation, notices, silent_runs

PATH = "/home/alice/faces.zip"


class Inbox:
    """A server on loopback that keeps what is posted, as JSON."""

    def __init__(self):
        self.arrived = []
        inbox = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                inbox.arrived.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def wait_for(self, n):
        deadline = time.monotonic() + 60
        while len(self.arrived) < n and time.monotonic() < deadline:
            time.sleep(0.2)
        return self.arrived


@pytest.fixture
def inbox():
    receiver = Inbox()
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def client(prefect_server, monkeypatch):
    """A client of the server, and for this test a name of receivers that no other test knows."""
    monkeypatch.setattr(notices, "BLOCK", f"fer-notices-{uuid.uuid4()}")
    monkeypatch.setattr(notices, "MAIL", f"notify/mail-{uuid.uuid4()}")
    with get_client(sync_client=True) as connected:
        yield connected


@contextlib.contextmanager
def listening(client, *names):
    """The automations of these notices are on the server for the length of the block."""
    wanted = {f"fer: {name}" for name in names}
    chosen = [automation for automation in notices.automations(client) if automation.name in wanted]
    assert len(chosen) == len(names)
    unique = [one.model_copy(update={"name": f"{one.name} {uuid.uuid4()}"}) for one in chosen]
    made = [client.create_automation(automation) for automation in unique]
    time.sleep(2)  # until the server listens by them
    try:
        yield
    finally:
        for automation in made:
            client.delete_automation(automation)


def test_without_a_receiver_nobody_is_told_and_nothing_is_made(client):
    assert notices.automations(client) == []


def test_the_absence_of_workers_is_told_of_the_pool_of_the_installation(client, monkeypatch, tmp_path):
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    (tmp_path / "installation").mkdir()
    Webhook(url="http://127.0.0.1:9/").save(notices.BLOCK)
    for pool in (installation.POOL, "faces"):
        if pool != installation.POOL:
            installation.save(tmp_path, installation.Installation(pool=pool, prefect_home=tmp_path))
        (absent,) = (one for one in notices.automations(client) if one.name == "fer: no worker is online")
        assert absent.trigger.match["prefect.resource.name"] == [pool]
        assert repr(pool) in absent.description


def test_each_notice_goes_to_every_receiver(client):
    CustomWebhookNotificationBlock(name="test", url="http://127.0.0.1:9/").save(notices.BLOCK)
    Webhook(url="http://127.0.0.1:9/").save(notices.BLOCK)
    flow_id = client.create_flow_from_name("notify")
    mail = {"to": ["ops@example.org"]}
    client.create_deployment(flow_id, name=notices.MAIL.partition("/")[2], parameters={"mail": mail})
    for automation in notices.automations(client):
        assert {type(action) for action in automation.actions} == {CallWebhook, RunDeployment, SendNotification}


def test_a_mail_deployment_that_names_nobody_is_no_receiver(client):
    flow_id = client.create_flow_from_name("notify")
    client.create_deployment(flow_id, name=notices.MAIL.partition("/")[2], parameters={"mail": {"to": []}})
    assert notices.automations(client) == []


def test_a_mail_that_fails_sends_no_mail_about_that(client):
    for notice in notices.notices(8, "fer"):
        names = (notice.trigger.match_related or {}).get("prefect.resource.name", [])
        assert "notify" not in names
    assert "notify" in silent_runs.flow_names()


def test_models_and_data_are_told_of_once_and_without_what_may_name_a_person(client, inbox):
    Webhook(url=inbox.url).save(notices.BLOCK)
    model = {"prefect.resource.id": "fer.model.m", "prefect.resource.name": "m", "fer.repeated": "false"}
    data = {
        "prefect.resource.id": "fer.data.d",
        "prefect.resource.name": f"r from folder:{PATH}",
        "fer.repeated": "false",
    }
    refused = {"message": 'm@2: accuracy 0.7, floor 0.8, in "quotes"', "name": "m", "version": 2, "sources": [PATH]}
    drifted = {"message": "3 new; drift: brightness", "recipe": "r", "sources": [PATH], "reports": {"a": PATH}}
    unfit = {"message": f"nothing in {PATH}", "recipe": "r", "sources": [PATH]}
    told = ("a model was refused", "data is not fit", "data drifted", "a champion changed")
    with listening(client, *told):
        emit_event("fer.model.refused", resource=model | {"fer.repeated": "true"}, payload=refused)
        emit_event("fer.model.refused", resource=model, payload=refused)
        emit_event("fer.data.refused", resource=data, payload=unfit)
        emit_event("fer.data.drifted", resource=data, payload=drifted)
        emit_event("fer.model.released", resource=model, payload=refused | {"message": "m@3: accuracy 0.9"})
        arrived = inbox.wait_for(4)
    assert sorted(message["subject"] for message in arrived) == [
        "fer: data of r drifted",
        "fer: data of r is not fit for training",
        "fer: m has another champion",
        "fer: m was refused",
    ]
    assert PATH not in json.dumps(arrived)
    texts = {message["subject"]: message["message"] for message in arrived}
    assert texts["fer: m was refused"] == 'm@2: accuracy 0.7, floor 0.8, in "quotes". Next: fer report m@2'
    assert "3 new; drift: brightness" in texts["fer: data of r drifted"]


def test_a_failed_run_is_told_of_by_its_flow_and_how_to_read_why(client, inbox):
    CustomWebhookNotificationBlock(
        name="test", url=inbox.url, method="POST", json_data={"subject": "{{subject}}", "message": "{{body}}"}
    ).save(notices.BLOCK)
    flow_id = client.create_flow_from_name("sweep")
    deployment = client.create_deployment(flow_id, name=f"weekly-{uuid.uuid4()}")
    run = client.create_flow_run_from_deployment(deployment, name=f"from archive:{PATH}")
    with listening(client, "a run failed"):
        client.set_flow_run_state(run.id, Failed(message=f"no such file {PATH}"), force=True)
        ours = [message for message in inbox.wait_for(1) if str(run.id) in message["message"]]
    (message,) = ours
    assert "fer: sweep of weekly-" in message["subject"]
    assert f"ended as Failed. Next: fer logs {run.id}" in message["message"]
    assert PATH not in json.dumps(message)
