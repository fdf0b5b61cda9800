"""Servers that lie: other certificates, ways out of https, more or less than was announced, another part, nothing."""

import contextlib
import datetime
import ipaddress
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from drive_server import serving as serving_drive
from kaggle_server import Kaggle, isolate, serving, zip_of
from kagglesdk import kaggle_env
from loopback import listening

from cerraseg.core.errors import DownloadError
from cerraseg.data import google_drive, kaggle_client
from cerraseg.data.download import download_kaggle

FILES = {"a/msi_images/ms_7.tif": bytes(range(256)) * 400}
ARCHIVE = zip_of(FILES)
ID = "1aB-c_D2eF3gH4"


@dataclass
class Liar:
    """A storage with one answer for everything."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    endless: bool = False
    stalls: bool = False
    url: str = ""
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


class _Lies(BaseHTTPRequestHandler):
    stand_in: Liar

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        liar = self.stand_in
        liar.asked.append(self.path)
        self.send_response(liar.status)
        for name, value in liar.headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(liar.body)
            if liar.stalls:
                liar.released.wait(30)
            while liar.endless and not liar.released.is_set():
                self.wfile.write(bytes(1 << 16))

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()


@pytest.fixture
def liar():
    made = Liar()
    with listening(made, _Lies, "localhost"):
        yield made


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    isolate(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(google_drive, "WAITS", ())


@pytest.fixture
def sent_to(monkeypatch):
    """Points kagglehub's client at an address."""
    return lambda url: monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that nobody vouches for, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    file.write_bytes(key.private_bytes(pem, *plain) + made.public_bytes(pem))
    return file


@contextlib.contextmanager
def over_tls(stand_in, handler, certificate):
    """Listen as :func:`loopback.listening` does, over https."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"stand_in": stand_in})) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        stand_in.url = f"https://localhost:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield stand_in
        finally:
            stand_in.released.set()
            server.shutdown()


def failure(folder: Path) -> str:
    with pytest.raises(DownloadError) as caught:
        download_kaggle("a/copy", 1, folder)
    return str(caught.value)


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, certificate, sent_to, monkeypatch):
    """What libraries and shells know as switches against verification is set, and changes nothing."""
    for name in ("PYTHONHTTPSVERIFY", "CURL_INSECURE", "GIT_SSL_NO_VERIFY", "NODE_TLS_REJECT_UNAUTHORIZED"):
        monkeypatch.setenv(name, "0")
    with over_tls(Liar(body=ARCHIVE), _Lies, certificate) as server:
        sent_to(server.url)
        assert "CERTIFICATE_VERIFY_FAILED" in failure(tmp_path / "data")
        with pytest.raises(DownloadError, match="CERTIFICATE_VERIFY_FAILED"):
            google_drive.fetch(ID, tmp_path / "data", server=server.url)
        assert server.asked == [] and left(tmp_path / "data") == []


@pytest.mark.parametrize("to", ["http", "file:///etc/passwd", "ftp://localhost/x"])
def test_no_way_out_of_https_is_followed(tmp_path, certificate, sent_to, liar, monkeypatch, to):
    liar.body = ARCHIVE
    target = f"{liar.url}/archive.zip" if to == "http" else to
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with over_tls(Liar(302, {"Location": target, "Content-Length": "0"}), _Lies, certificate) as server:
        sent_to(server.url)
        message = failure(tmp_path / "data")
        wanted = "leads from https to an address that is not" if to == "http" else "No connection adapters were found"
        assert wanted in message and left(tmp_path / "data") == []
        with pytest.raises(DownloadError, match="which is not Google's: that is not followed"):
            google_drive.fetch(ID, tmp_path / "data", server=server.url)


def test_a_rest_is_not_fetched_over_http_either(certificate, liar, monkeypatch):
    """The second request of a transfer that goes on is looked at like the first."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    liar.body = b"rest"
    with over_tls(Liar(302, {"Location": liar.url, "Content-Length": "0"}), _Lies, certificate) as server:
        first = requests.Response()
        first.url, first.headers["Accept-Ranges"] = server.url, "bytes"
        with (
            pytest.raises(requests.exceptions.InvalidURL, match="leads from https"),
            kaggle_client.rest_of(first, 1, 9),
        ):
            pass


def test_an_endless_answer_ends(tmp_path, sent_to, liar, monkeypatch):
    """Without a length, an archive is held to what its contents are expected to take."""
    monkeypatch.setattr("cerraseg.data.download.DATASET_BYTES", 5 << 20)
    liar.endless = True
    sent_to(liar.url)
    assert "The server sent more than the 5,242,880 bytes that were announced or expected" in failure(tmp_path / "data")
    assert left(tmp_path / "data") == []


def test_more_than_is_free_is_not_begun(tmp_path, sent_to, liar):
    liar.headers = {"Content-Length": str(10**18)}
    sent_to(liar.url)
    assert "needs about" in failure(tmp_path / "data") and left(tmp_path / "data") == []


@pytest.mark.parametrize("length", ["-1", "many", "9" * 30, str(len(ARCHIVE) + 1), str(len(ARCHIVE) - 1)])
def test_a_length_that_is_a_lie_gives_no_data(tmp_path, sent_to, liar, length):
    liar.headers, liar.body = {"Content-Length": length}, ARCHIVE
    sent_to(liar.url)
    try:
        failure(tmp_path / "data")
    except pytest.fail.Exception:  # what cannot be a length is none: the archive is what it is
        assert length in ("-1", "many")
    else:
        assert set(left(tmp_path / "data")) <= {"1.archive"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_packed_answers_are_counted_unpacked(tmp_path, sent_to, liar, monkeypatch, encoding):
    import zlib

    monkeypatch.setattr("cerraseg.data.download.DATASET_BYTES", 1 << 20)
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    liar.body = packer.compress(bytes(50 << 20)) + packer.flush()
    liar.headers = {"Content-Encoding": encoding, "Content-Length": str(len(liar.body))}
    sent_to(liar.url)
    assert "sent more than the 1,048,576 bytes" in failure(tmp_path / "data") and left(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"status": 206, "headers": {"Content-Range": "bytes 0-9/10"}}, "sent another part than was asked for"),
        ({"status": 206}, "sent another part than was asked for"),
        ({"status": 206, "headers": {"Content-Range": "bytes 1000-9/10"}}, "sent another part than was asked for"),
        ({"status": 200, "body": b"evil" * 1000}, "is damaged or cut short"),
        ({"status": 416}, "Kaggle answered with an error (416)"),
    ],
)
def test_another_part_is_not_built_upon(tmp_path, sent_to, liar, monkeypatch, answer, message):
    with serving(ARCHIVE) as server:
        sent_to(server.url)
        folder = tmp_path / "data"
        archive = folder / "datasets/a/copy/1.archive"
        archive.parent.mkdir(parents=True)
        archive.write_bytes(ARCHIVE[:1000])
        for name, value in answer.items():
            setattr(liar, name, value)
        get = requests.get
        monkeypatch.setattr(requests, "get", lambda url, **words: get(liar.url, **words))
        assert message in failure(folder)
        assert not (folder / "datasets/a/copy/versions").exists()
        assert not archive.exists() or ARCHIVE.startswith(archive.read_bytes())


def test_a_server_that_stalls_is_left(tmp_path, sent_to, monkeypatch):
    monkeypatch.setattr(google_drive, "_TIMEOUT", (1, 1))
    monkeypatch.setattr(kaggle_client, "_TIMEOUT", (1, 1))
    with serving(ARCHIVE) as server:
        server.stall_after = 1000
        sent_to(server.url)
        assert "Read timed out" in failure(tmp_path / "data")
    with serving_drive(ARCHIVE) as server:
        server.stall_after = 1000
        with pytest.raises(DownloadError, match="Read timed out"):
            google_drive.fetch(ID, tmp_path / "drive", server=server.url)


def test_every_request_has_a_time_limit(tmp_path, sent_to, monkeypatch):
    """A server that never answers would otherwise hold a run for ever."""
    limits, send = [], requests.adapters.HTTPAdapter.send

    def noted(self, request, **words):
        limits.append(words.get("timeout"))
        return send(self, request, **words)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", noted)
    with serving(ARCHIVE) as server:
        sent_to(server.url)
        server.cut_after = 1000
        failure(tmp_path / "data")
        server.cut_after = None
        download_kaggle("a/copy", 1, tmp_path / "data")
    assert len(limits) > 4 and None not in limits


def test_bombs_from_kaggle_are_refused(tmp_path, sent_to):
    """Of its announced contents, and of many small entries that are each within bounds."""
    import zipfile
    from io import BytesIO

    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/msi_images/ms_1.tif", bytes(20 << 20))
    with serving(buffer.getvalue()) as server:
        sent_to(server.url)
        assert "is packed too tightly to be true" in failure(tmp_path / "data")
        assert left(tmp_path / "data") == []


def test_proxies_with_passwords_are_not_shown(tmp_path, sent_to, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://ana:s3cret@127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY")
    sent_to("https://api.kaggle.com")
    message = failure(tmp_path / "data")
    assert "Unable to connect to proxy" in message and "s3cret" not in message
    with pytest.raises(DownloadError) as caught:
        google_drive.fetch(ID, tmp_path / "data")
    assert "s3cret" not in str(caught.value)


def test_stand_ins_are_used(tmp_path, sent_to):
    """The tests above refuse for their reasons: the same servers give an honest archive."""
    with serving(ARCHIVE) as server:
        assert isinstance(server, Kaggle)
        sent_to(server.url)
        (root,) = download_kaggle("a/copy", 1, tmp_path / "data")
        assert (root / "msi_images/ms_7.tif").read_bytes() == FILES["a/msi_images/ms_7.tif"]
