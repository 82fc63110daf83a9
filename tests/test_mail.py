"""Mail by SMTP, to a real server on loopback."""

import mail_inbox
import pytest
from mail_inbox import PASSWORD

from fer import errors, mail

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # that of the port is enough


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return mail_inbox.certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=["starttls", "tls", "none"])
def served(request, certificate):
    with mail_inbox.serving(request.param, certificate) as inbox_and_server:
        yield inbox_and_server


@pytest.fixture
def trusted(monkeypatch, certificate):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))


def test_a_notice_arrives_encrypted_and_with_the_password_where_one_is_asked_for(served, trusted):
    inbox, server = served
    password = None if server.security == "none" else PASSWORD
    mail.send(server, password, "refused: é", "demo@2: accuracy 0.7, floor 0.8\nsecond line")
    (message,) = inbox.messages
    assert (message["Subject"], message["To"], message["From"]) == ("refused: é", "ops@example.org", "ops@example.org")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content().strip().splitlines() == ["demo@2: accuracy 0.7, floor 0.8", "second line"]
    assert inbox.logins == ([] if password is None else [(b"fer", PASSWORD.encode())])


def test_neither_a_key_nor_another_header_gets_into_a_mail(served, trusted):
    inbox, server = served
    password = None if server.security == "none" else PASSWORD
    mail.send(server, password, "a\r\nBcc: all@example.org", "token=s3cret-s3cret\x1b[31m")
    (message,) = inbox.messages
    assert message["Bcc"] is None
    assert "s3cret" not in message.as_string()
    assert "\x1b" not in message.get_content()


@pytest.mark.parametrize("served", ["starttls", "tls"], indirect=True)
def test_a_server_that_this_machine_does_not_trust_gets_no_password(served):
    inbox, server = served
    with pytest.raises(errors.MailError, match=r"SSLCertVerificationError from localhost:") as raised:
        mail.send(server, PASSWORD, "a", "b")
    assert PASSWORD not in str(raised.value)
    assert (inbox.messages, inbox.logins) == ([], [])


@pytest.mark.parametrize("served", ["starttls"], indirect=True)
def test_a_wrong_password_is_said_without_showing_it(served, trusted):
    with pytest.raises(errors.MailError, match="SMTPAuthenticationError") as raised:
        mail.send(served[1], "wrong-wrong", "a", "b")
    assert "wrong-wrong" not in str(raised.value)


def test_no_password_goes_over_a_connection_that_others_can_read():
    with pytest.raises(errors.ConfigError, match="encrypted"):
        mail.send(mail.MailServer(to=("a@b.c",), security="none"), PASSWORD, "a", "b")


def test_a_server_that_is_not_there_is_an_error_that_says_where_it_should_be():
    with pytest.raises(errors.MailError, match=r"ConnectionRefusedError from 127\.0\.0\.1:9"):
        mail.send(mail.MailServer(to=("a@b.c",), host="127.0.0.1", port=9), None, "a", "b")


def test_to_nobody_nothing_is_sent():
    mail.send(mail.MailServer(host="127.0.0.1", port=9), None, "a", "b")
