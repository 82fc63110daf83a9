"""A mail server on loopback that keeps what arrives."""

import contextlib
import datetime
import email
import email.policy
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fer import mail

PASSWORD = "hunter2-hunter2"


class Inbox:
    """What arrived, and who logged in by which password."""

    def __init__(self):
        self.messages, self.logins = [], []

    async def handle_DATA(self, server, session, envelope):
        self.messages.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"

    def authenticator(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


def certificate(folder: Path) -> tuple[Path, Path]:
    """The paths of a new certificate for localhost, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "certificate.pem", folder / "key.pem"


@contextlib.contextmanager
def serving(security: str, pair: tuple[Path, Path]) -> Iterator[tuple[Inbox, mail.MailServer]]:
    """An inbox, and how it is reached. With `security` none it takes mail without a login, else only with one."""
    inbox, context = Inbox(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    is_encrypted = security != "none"

    class Server(Controller):
        def factory(self):
            tls = {"tls_context": context, "require_starttls": True} if security == "starttls" else {}
            login = {"authenticator": inbox.authenticator, "auth_required": is_encrypted, "auth_require_tls": bool(tls)}
            return SMTP(self.handler, **tls, **login)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Server(
        inbox, hostname="localhost", port=port, ssl_context=context if security == "tls" else None, ready_timeout=60
    )
    controller.start()
    try:
        yield (
            inbox,
            mail.MailServer(
                to=("ops@example.org",),
                host="localhost",
                port=port,
                security=security,
                user="fer" if is_encrypted else "",
            ),
        )
    finally:
        controller.stop()
