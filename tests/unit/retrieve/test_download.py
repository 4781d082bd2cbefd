"""Downloads from a server that truncates, stalls, refuses, changes its mind, or is not there."""

import email.utils
import hashlib
import random
import socket
import time
from pathlib import Path

import pytest
from loopback import LoopbackServer, Resource, running_server
from respfm.errors import RespfmError
from respfm.retrieve.checksums import Expected
from respfm.retrieve.download import Patience, download

CONTENT = random.Random(0).randbytes(400_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KNOWN = Expected(bytes=len(CONTENT), sha256=SHA256)
QUICK = Patience(attempts=3, first_wait=0.001, longest_wait=0.5, connect=2, stall=0.3)


@pytest.fixture
def server():
    with running_server() as running:
        yield running


def fetch(server: LoopbackServer, target: Path, expected: Expected = KNOWN, patience: Patience = QUICK) -> str:
    _, sha256 = download([server.url("/file")], target, expected, patience=patience)
    assert sorted(target.parent.iterdir()) == [target]
    return sha256


def test_plain_download(server, tmp_path):
    server.files["/file"] = Resource(CONTENT)
    assert fetch(server, tmp_path / "deep" / "file") == SHA256
    assert (tmp_path / "deep" / "file").read_bytes() == CONTENT
    assert server.requests == [("/file", None)]


def test_truncated_transfers_are_continued(server, tmp_path):
    script = [("truncate", 100_000), ("truncate", 70_000), ("truncate", 200_000)]
    server.files["/file"] = Resource(CONTENT, etag='"1"', script=script)
    assert fetch(server, tmp_path / "file") == SHA256
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for _, asked in server.requests[1:]]
    assert len(starts) == 3
    assert starts == sorted(starts)
    assert starts[0] > 0


def test_stalled_transfer_is_continued(server, tmp_path):
    server.files["/file"] = Resource(CONTENT, etag='"1"', script=[("stall", 150_000)])
    began = time.monotonic()
    assert fetch(server, tmp_path / "file") == SHA256
    assert 0.3 < time.monotonic() - began < 5
    assert server.requests[1][1].startswith("bytes=")


def test_later_call_continues_an_earlier_one(server, tmp_path):
    server.files["/file"] = Resource(CONTENT, etag='"1"', script=[("truncate", 300_000), 503, 503])
    with pytest.raises(RespfmError, match="the server answers 503, 3 times"):
        fetch(server, tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {"file.part", "file.part.json"}
    received = (tmp_path / "file.part").stat().st_size
    assert 0 < received <= 300_000
    server.requests.clear()
    assert fetch(server, tmp_path / "file") == SHA256
    assert server.requests == [("/file", f"bytes={received}-")]


def test_file_that_changes_between_tries_starts_anew(server, tmp_path):
    new = random.Random(1).randbytes(350_000)
    server.files["/file"] = Resource(CONTENT, etag='"1"', script=[("truncate", 200_000), ("replace", new, '"2"')])
    assert fetch(server, tmp_path / "file", Expected()) == hashlib.sha256(new).hexdigest()


def test_change_is_noticed_by_its_tag_where_conditions_are_ignored(server, tmp_path):
    new = random.Random(1).randbytes(350_000)
    script = [("truncate", 200_000), ("replace", new, '"2"')]
    server.files["/file"] = Resource(CONTENT, etag='"1"', conditions=False, script=script)
    assert fetch(server, tmp_path / "file", Expected()) == hashlib.sha256(new).hexdigest()
    assert [asked is None for _, asked in server.requests] == [True, False, True]


def test_unnoticed_change_between_tries_is_found_by_the_checksum(server, tmp_path):
    server.files["/file"] = Resource(bytes(len(CONTENT)), script=[("truncate", 200_000), ("replace", CONTENT, None)])
    assert fetch(server, tmp_path / "file") == SHA256
    assert [asked is None for _, asked in server.requests] == [True, False, True]


def test_without_validator_or_checksum_nothing_is_continued(server, tmp_path):
    (tmp_path / "file.part").write_bytes(b"of some other version")
    server.files["/file"] = Resource(CONTENT)
    assert fetch(server, tmp_path / "file", Expected()) == SHA256


def test_server_that_ignores_range_sends_all_again(server, tmp_path):
    server.files["/file"] = Resource(CONTENT, ranges=False, script=[("truncate", 200_000)])
    assert fetch(server, tmp_path / "file") == SHA256
    assert server.requests[1][1] is not None


def test_server_without_content_length(server, tmp_path):
    server.files["/file"] = Resource(CONTENT, length=False, script=[("truncate", 100_000)])
    assert fetch(server, tmp_path / "file") == SHA256


def test_part_that_is_longer_than_the_file(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    server.files["/file"] = Resource(CONTENT, etag='"1"')
    assert fetch(server, tmp_path / "file") == SHA256


def test_complete_but_wrong_part_is_fetched_anew(server, tmp_path):
    (tmp_path / "file.part").write_bytes(bytes(len(CONTENT)))
    server.files["/file"] = Resource(CONTENT)
    assert fetch(server, tmp_path / "file") == SHA256


def test_complete_part_needs_no_request(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path / "file") == SHA256
    assert server.requests == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_server_is_asked_again(server, tmp_path, status):
    server.files["/file"] = Resource(CONTENT, script=[status, status])
    assert fetch(server, tmp_path / "file") == SHA256
    assert len(server.requests) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(server, tmp_path, form):
    asked = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
    server.files["/file"] = Resource(CONTENT, script=[429], headers={"Retry-After": asked})
    began = time.monotonic()
    fetch(server, tmp_path / "file", patience=Patience(attempts=2, first_wait=0, longest_wait=5))
    assert time.monotonic() - began >= 1


def test_dead_link_says_where_to_put_the_file(server, tmp_path):
    target = tmp_path / "data.zip"
    with pytest.raises(RespfmError) as caught:
        download([server.url("/gone"), server.url("/lost")], target, patience=QUICK)
    assert str(caught.value).count("the server answers 404 Not Found") == 2
    assert f"put it at {target}" in str(caught.value)
    assert len(server.requests) == 2
    assert not list(tmp_path.iterdir())


def test_alternative_address_is_tried(server, tmp_path):
    server.files["/file"] = Resource(CONTENT)
    url, sha256 = download([server.url("/gone"), server.url("/file")], tmp_path / "file", KNOWN, QUICK)
    assert (url, sha256) == (server.url("/file"), SHA256)


def test_alternative_is_tried_when_an_address_sends_something_else(server, tmp_path):
    server.files["/other"], server.files["/file"] = Resource(bytes(len(CONTENT))), Resource(CONTENT)
    urls = [server.url("/other"), server.url("/file")]
    assert download(urls, tmp_path / "file", KNOWN, QUICK)[0] == urls[1]


def test_server_that_is_not_there(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(RespfmError, match="Connection refused"):
        download([f"http://127.0.0.1:{port}/file"], tmp_path / "file", KNOWN, QUICK)


def test_wrong_checksum_leaves_nothing(server, tmp_path):
    server.files["/file"] = Resource(bytes(len(CONTENT)), etag='"1"')
    with pytest.raises(RespfmError, match=f"has the sha256 [0-9a-f]+ instead of {SHA256}"):
        fetch(server, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_wrong_size_is_seen_before_the_transfer(server, tmp_path):
    server.files["/file"] = Resource(CONTENT + b"x")
    with pytest.raises(RespfmError, match="has 400001 bytes instead of 400000"):
        fetch(server, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_web_page_in_place_of_an_unverifiable_file(server, tmp_path):
    server.files["/file"] = Resource(b"<html>sign in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(RespfmError, match="a web page instead of the file"):
        fetch(server, tmp_path / "file", Expected())


def test_redirect_is_followed_to_http_only(server, tmp_path):
    server.files["/file"] = Resource(b"", headers={"Location": server.url("/moved")}, script=[302])
    server.files["/moved"] = Resource(CONTENT)
    assert fetch(server, tmp_path / "file") == SHA256
    (tmp_path / "secret").write_bytes(CONTENT)
    location = {"Location": (tmp_path / "secret").as_uri()}
    server.files["/file"] = Resource(b"", headers=location, script=[302])
    with pytest.raises(RespfmError, match="No connection adapters"):
        fetch(server, tmp_path / "other" / "file")


def test_encoded_transfer_is_stored_as_sent(server, tmp_path):
    server.files["/file"] = Resource(CONTENT, headers={"Content-Encoding": "gzip"})
    assert fetch(server, tmp_path / "file") == SHA256


def test_unwritable_target(server, tmp_path):
    server.files["/file"] = Resource(CONTENT)
    (tmp_path / "folder").write_bytes(b"a file")
    with pytest.raises(RespfmError, match="cannot be written"):
        download([server.url("/file")], tmp_path / "folder" / "file", KNOWN, QUICK)


@pytest.mark.parametrize("seed", range(25))
def test_any_misbehaviour_ends_in_the_right_file_or_none(server, tmp_path, seed):
    """Random mishaps, versions and server abilities: what arrives under its name is one whole version, the expected."""
    generator = random.Random(seed)
    versions = [(generator.randbytes(generator.randrange(1, 300_000)), f'"{n}"') for n in range(2)]
    content, etag = versions[0]
    last = versions[0][0]
    resource = Resource(content, etag if generator.random() < 0.7 else None, ranges=generator.random() < 0.8)
    for _ in range(generator.randrange(6)):
        kind = generator.choice(["truncate", "truncate", "status", "replace"])
        if kind == "replace":
            last = versions[1][0]
            resource.script.append(("replace", last, versions[1][1] if resource.etag else None))
        elif kind == "status":
            resource.script.append(generator.choice([429, 503, 404]))
        else:
            resource.script.append((kind, generator.randrange(200_000)))
    server.files["/file"] = resource
    expected = Expected(sha256=hashlib.sha256(last).hexdigest()) if generator.random() < 0.7 else Expected()
    target = tmp_path / "file"
    for _ in range(8):
        try:
            download([server.url("/file")], target, expected, QUICK)
        except RespfmError:
            assert not target.exists()
        else:
            break
    allowed = [last] if expected.digest else [content for content, _ in versions]
    assert target.read_bytes() in allowed
    assert list(tmp_path.iterdir()) == [target]
