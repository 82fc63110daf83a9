"""People are told: by a webhook and by mail, of a failure and of silence; with a real server and a real worker."""

import datetime
import http.server
import json
import threading

import installed
import mail_inbox
import psutil
from mail_inbox import PASSWORD
from prefect.blocks.system import Secret
from prefect.blocks.webhook import Webhook
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from flows.operating import notices

OF_A_PERSON = "/home/alice/faces.zip"
DAYS = 30 / 86_400  # half a minute without a retraining
SOON = datetime.timedelta(seconds=10)  # the least that Prefect waits


def test_a_failure_and_silence_are_told_by_webhook_and_mail(tmp_path):
    posted: list[dict[str, str]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    def told(words: str) -> bool:
        return any(words in message["subject"] for message in posted)

    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    certificate, key = mail_inbox.certificate(tmp_path)
    quick = {"PREFECT_WORKER_HEARTBEAT_SECONDS": "2", "SSL_CERT_FILE": str(certificate)}
    with (
        mail_inbox.serving("starttls", (certificate, key)) as (inbox, server),
        installed.up(tmp_path, **quick) as installation,
    ):
        with temporary_settings({PREFECT_API_URL: installation.url}):
            Webhook(url=f"http://127.0.0.1:{receiver.server_port}/").save(notices.BLOCK)
            Secret(value=PASSWORD).save("smtp-password")
        installation.prefect("deploy", "--name", "mail", "--name", "demo")
        with installation.client() as client:
            mail = client.read_deployment_by_name(notices.MAIL)
            values = {"mail": server.model_dump(mode="json"), "password_secret": "smtp-password"}
            client.update_deployment(mail.id, DeploymentUpdate(parameters=values))
        made = installation.fer("init", "project", FER_NOTICE_AFTER_DAYS=str(DAYS))
        assert "made on the server: the automation 'fer: a run failed'" in made

        parameters = json.dumps(installed.few_faces() | {"sources": [f"archive:{OF_A_PERSON}"]})
        installation.prefect("deployment", "run", "retrain/demo", "--params", parameters)
        installed.until(lambda: told("retrain of demo failed") and told("no retraining for"))
        installed.until(lambda: any("retrain of demo failed" in message["Subject"] for message in inbox.messages))
        assert {password for _, password in inbox.logins} == {PASSWORD.encode()}

        with installation.client() as client:
            for name in ("fer: no worker is online", "fer: a run did not begin"):
                (automation,) = client.read_automations_by_name(name)
                automation.trigger.within = SOON
                changed = AutomationCore(**automation.model_dump(exclude={"id", "owner_resource"}))
                client.update_automation(automation.id, changed)
            psutil.Process(installation.pid("worker-1")).kill()
            demo = client.read_deployment_by_name("retrain/demo")
            missed = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
            client.create_flow_run_from_deployment(demo.id, state=Scheduled(scheduled_time=missed))
        installed.until(lambda: told("no worker is online") and told("a run of retrain of demo did not begin"))

        told_all = json.dumps(posted) + "".join(message.as_string() for message in inbox.messages)
        for secret in (OF_A_PERSON, PASSWORD):
            assert secret not in told_all
        assert PASSWORD not in installation.logs()
        assert "worker-1" in installation.fer("status", code=12)
    receiver.shutdown()
    receiver.server_close()
