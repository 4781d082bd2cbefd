"""Servers neither lead elsewhere, learn a password, nor fill the disk."""

import shutil
import ssl
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from loopback import Resource, running_server
from respfm import audio
from respfm.errors import RespfmError
from respfm.retrieve.checksums import Expected
from respfm.retrieve.download import Patience, download, read_text
from respfm.retrieve.mirror import Mirror

QUICK = Patience(attempts=2, first_wait=0.001, longest_wait=0.1, connect=2, stall=0.5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine: apt-get install openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path.with_suffix(".key"), "-out", path]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.fixture
def https(certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with running_server(context) as server:
        yield server


@pytest.fixture
def server():
    with running_server() as running:
        yield running


def redirect(target: str, times: int = 1) -> Resource:
    return Resource(b"", headers={"Location": target}, script=[302] * times)


def fetch(url: str, folder: Path, expected: Expected = Expected()) -> bytes:  # noqa: B008
    download([url], folder / "file", expected, patience=QUICK)
    return (folder / "file").read_bytes()


def test_a_redirect_from_https_to_http_is_not_followed(https, server, tmp_path):
    server.files["/file"] = Resource(b"forged", headers={"Location": https.url("/back")})
    https.files |= {"/file": redirect(server.url("/file")), "/good": redirect(https.url("/real"))}
    https.files |= {"/real": Resource(b"real"), "/list": redirect(server.url("/file"))}
    assert fetch(https.url("/good"), tmp_path / "good") == b"real"
    with pytest.raises(RespfmError, match="redirects from https to http://"):
        fetch(https.url("/file"), tmp_path / "bad")
    with pytest.raises(OSError, match="redirects from https to http://"):
        read_text(https.url("/list"), QUICK)
    assert server.requests == []
    assert not list((tmp_path / "bad").iterdir())


def test_redirects_to_files_and_in_circles_end_in_one_sentence(server, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    server.files["/file"] = redirect((tmp_path / "secret").as_uri())
    with pytest.raises(RespfmError, match="No connection adapters"):
        fetch(server.url("/file"), tmp_path / "out")
    server.files["/loop"] = redirect(server.url("/loop"), 100)
    with pytest.raises(RespfmError, match="Exceeded 30 redirects"):
        fetch(server.url("/loop"), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_password_is_not_sent_to_another_host(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with running_server() as other:
        other.files["/file"] = Resource(b"there")
        server.files["/file"] = redirect(other.url("/file").replace("127.0.0.1", "localhost"))
        assert fetch(server.url("/file"), tmp_path / "out") == b"there"
        assert "Authorization" in server.headers[0]
        assert "Authorization" not in other.headers[0]


def test_a_password_in_an_address_is_refused_without_showing_it():
    with pytest.raises(RespfmError, match=r"~/\.netrc") as error:
        Mirror({"path": "https://user:secret@example.org/mirror"})
    assert "secret" not in str(error.value)


def test_a_server_that_never_ends_does_not_fill_the_disk(server, tmp_path):
    server.files["/file"] = Resource(bytes(10 << 20), length=False)
    with pytest.raises(RespfmError, match="more than the file's 1000 bytes"):
        fetch(server.url("/file"), tmp_path / "out", Expected(bytes=1000))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("suffix", [".webm", ".mp3", ".m4a"])
def test_a_playlist_in_the_place_of_a_recording_opens_nothing(server, tmp_path, suffix):
    soundfile.write(tmp_path / "secret.mp3", np.sin(np.arange(16000) * 0.1), 16000)
    server.files["/a.mp3"] = Resource((tmp_path / "secret.mp3").read_bytes())
    (tmp_path / "data").mkdir()
    for target in (server.url("/a.mp3"), (tmp_path / "secret.mp3").as_uri(), str(tmp_path / "secret.mp3")):
        for text in (f"#EXTM3U\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n", f"ffconcat version 1.0\nfile '{target}'\n"):
            path = tmp_path / "data" / f"recording{suffix}"
            path.write_text(text)
            assert audio.inspect(path).quarantine.startswith("unreadable")
    assert server.requests == []
