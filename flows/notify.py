"""Send a notice to people by mail: what an automation runs, and a person who tries whether it arrives."""

from typing import cast

from prefect import flow
from prefect.blocks.system import Secret

from fer import mail as smtp
from flows import run_options
from tasks import block_names
from tasks.runs import outcomes


@flow(name="notify", flow_run_name="{subject}", **run_options.OPTIONS)
@outcomes.as_final_state
def notify(
    subject: str = "fer: a test",
    message: str = "Notices arrive.",
    mail: smtp.MailServer | None = None,
    password_secret: block_names.Name | None = None,
) -> None:
    """Send one mail by SMTP.

    Args:
        subject: Its subject.
        message: Its text.
        mail: Where it goes, and by which server; without it nothing is sent.
        password_secret: The Prefect Secret block with the server's password; without it nobody logs in.
    """
    if mail is None:
        return
    smtp.send(mail, _password(password_secret), subject, message)


def _password(name: str | None) -> str | None:
    if name is None:
        return None
    secret = cast(Secret[str], Secret.load(block_names.checked(name)))  # a coroutine only where an event loop runs
    return str(secret.get())
