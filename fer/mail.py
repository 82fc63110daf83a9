"""Plain mail by SMTP, for notices to people."""

import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fer import errors, plain_text, redaction

_TIMEOUT_S = 30.0
_MAX_SUBJECT = 200  # characters


class MailServer(BaseModel):
    """Where mail goes, from whom, and by which server; its password is no part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: tuple[str, ...] = Field(default=(), description="The addresses that mail goes to; none: nothing is sent.")
    sender: str = Field(default="", description="The address that it comes from; empty for the first of `to`.")
    host: str = Field(default="localhost", description="The SMTP server.")
    port: int = Field(default=587, ge=1, le=65_535, description="Its port: 587 with starttls, 465 with tls, as a rule.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the connection is encrypted; `none` takes no password."
    )
    user: str = Field(default="", description="Whom to log in as; empty for a server that asks for nobody.")


def send(server: MailServer, password: str | None, subject: str, text: str) -> None:
    """Send one mail, from which what looks like a key is left out.

    The server must show a certificate that this machine trusts, unless its security is `none`. Raises ConfigError,
    MailError.
    """
    if not server.to:
        return
    if server.security == "none" and password is not None:
        raise errors.ConfigError(
            "A password is sent over an encrypted connection alone.",
            received="security=none, and a password",
            todo="set security to starttls or tls",
        )
    message = EmailMessage()
    message["Subject"] = plain_text.visible(redaction.redacted(subject))[:_MAX_SUBJECT]
    message["From"] = server.sender or server.to[0]
    message["To"] = ", ".join(server.to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=socket.gethostname() or "localhost")
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(plain_text.visible(redaction.redacted(text), keep="\n"))
    try:
        with _connected(server) as connection:
            if password is not None:
                connection.login(server.user, password)
            connection.send_message(message)
    except (OSError, smtplib.SMTPException) as error:  # neither says the password
        raise errors.MailError(
            "The mail server must take the mail.",
            received=f"{type(error).__name__} from {server.host}:{server.port}",
            todo="correct the parameter `mail` of the deployment, or its password's Secret block",
        ) from error


def _connected(server: MailServer) -> smtplib.SMTP:
    """A connection, encrypted as the server's security says."""
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_S, context=ssl.create_default_context())
    connection = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
    if server.security == "starttls":
        try:
            connection.starttls(context=ssl.create_default_context())
        except BaseException:
            connection.close()
            raise
    return connection
