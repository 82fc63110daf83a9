"""What closes the embedded store's own ports to other processes: all but S3's are for its parts among themselves.

    <home>/store/tls.crt, tls.key    a certificate, and its key, which every port demands (mutual TLS, HTTP and gRPC)
    <home>/store/security.toml       SeaweedFS's configuration: where it finds these, and the keys of its tokens (JWT)

They are made anew at each start, so that none is old, and their owner alone can read them.
"""

import datetime
import ipaddress
import json
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fer.engine import disk

FILES = ("security.toml", "tls.crt", "tls.key")
_CONFIGURATION, _CERTIFICATE, _KEY = FILES
_GRPC = ("admin", "client", "filer", "master", "s3", "volume", "worker")
_HTTPS = ("admin", "client", "filer", "master", "volume")
_TOKENS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
# A server may run for long, and a machine's clock may be set while it does.
_VALID_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_VALID_TO = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)


def make(folder: Path) -> None:
    """New keys and their configuration, for a server whose working directory is `folder`. Raises OSError."""
    certificate, key = _certificate()
    disk.write_private(folder / _CERTIFICATE, certificate)
    disk.write_private(folder / _KEY, key)
    disk.write_private(folder / _CONFIGURATION, _configuration().encode())


def _configuration() -> str:
    pair = f'cert = "{_CERTIFICATE}"\nkey = "{_KEY}"\n'
    sections = [f'[grpc]\nca = "{_CERTIFICATE}"\n']
    sections += [f"[grpc.{part}]\n{pair}" for part in _GRPC]
    sections += [f'[https.{part}]\nenabled = true\n{pair}ca = "{_CERTIFICATE}"\n' for part in _HTTPS]
    sections += [f"[{token}]\nkey = {json.dumps(secrets.token_urlsafe(32))}\n" for token in _TOKENS]
    return "\n".join(sections)


def _certificate() -> tuple[bytes, bytes]:
    """A certificate and its key (PEM). It is its own authority: who has no copy of the key is trusted by nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "embedded store")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_TO)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), _LOOPBACK]), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private
