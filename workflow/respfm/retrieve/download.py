"""Downloads that survive: resumed after interruptions, patient with busy servers, never half-made."""

import contextlib
import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import requests
from tqdm import tqdm
from urllib3 import Retry
from urllib3.exceptions import HTTPError, InvalidHeader

from respfm.errors import RespfmError, why_not_written
from respfm.files import write_json
from respfm.retrieve.checksums import UNKNOWN, Expected, verify

log = logging.getLogger(__name__)
_BLOCK = 1 << 16
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How long to keep trying, in seconds.

    `attempts` tries in a row may bring nothing before an address is given up. The waits between them double, are drawn
    at random and lie between `first_wait` and `longest_wait`. `connect` is the wait for a connection, `stall` for the
    next bytes of one.
    """

    attempts: int = 8
    first_wait: float = 1.0
    longest_wait: float = 120.0
    connect: float = 30.0
    stall: float = 60.0


PATIENCE = Patience()


class _Lost(Exception):
    """This address will not give the file, however often it is asked."""


class _Retry(Exception):
    """This try failed and another may not; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def _session() -> requests.Session:
    """A session that follows redirects, but not from https to http."""
    session = requests.Session()
    session.hooks["response"].append(_refuse_downgrade)
    return session


def _refuse_downgrade(response: requests.Response, **_: object) -> None:
    target = urljoin(response.url, response.headers.get("Location", ""))
    if response.is_redirect and response.url.startswith("https:") and not target.startswith("https:"):
        raise requests.exceptions.InvalidSchema(f"the server redirects from https to {target}, which is not safe")


def read_text(url: str, patience: Patience = PATIENCE) -> str:
    """A small text file; OSError if the server cannot be reached or has no such file."""
    with _session() as session:
        response = session.get(url, timeout=(patience.connect, patience.stall))
        response.raise_for_status()
        return response.content.decode("utf-8-sig")


def download(
    urls: Sequence[str],
    target: Path,
    expected: Expected = UNKNOWN,
    patience: Patience = PATIENCE,
) -> tuple[str, str]:
    """Fetch one file from the first of `urls` that gives it; return that address and the SHA-256.

    The bytes go to `<target>.part`, which a later call continues (Range with If-Range, so that a file which changed in
    between is fetched again from its start), and become `target` only after size and digests agree. Raises RespfmError
    if no address gave the file, or what came is not what was expected.
    """
    reasons = []
    for url in urls:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            return url, _download_one(url, target, expected, patience)
        except _Lost as lost:
            reasons.append(f"{url} ({lost})")
        except OSError as error:
            reason = why_not_written(error) or error
            raise RespfmError(f"{target.name} cannot be written to {target.parent}: {reason} and run again") from error
    raise RespfmError(
        f"{target.name} cannot be downloaded from {' nor from '.join(reasons)}. Get it by hand and put it at "
        f"{target}, or name a mirror that has it"
    )


class _Part:
    """The bytes of an unfinished download, with the validator (ETag or date) of their version.

    `resumed` says that they come from more than one answer, `discarded` that some were thrown away before.
    """

    def __init__(self, target: Path, url: str, expected: Expected) -> None:
        self.target, self.url = target, url
        self.path = target.with_name(target.name + ".part")
        self._notes = target.with_name(target.name + ".part.json")
        self.discarded = False
        notes = json.loads(self._notes.read_text()) if self._notes.is_file() else {}
        self.validator = notes.get("validator") if notes.get("url") == url else None
        if not (self.validator or expected.digest):
            self.discard()
        self.resumed = self.size > 0

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def begin(self, headers: requests.structures.CaseInsensitiveDict) -> None:
        """Remember which version the coming bytes belong to."""
        etag = headers.get("ETag", "")
        self.validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        self.resumed = False
        write_json(self._notes, {"url": self.url, "validator": self.validator})

    def continues(self, headers: requests.structures.CaseInsensitiveDict) -> bool:
        """Whether an answer with further bytes is of the same version, as far as it says."""
        etag = headers.get("ETag")
        return not (etag and self.validator and self.validator.startswith('"')) or etag == self.validator

    def discard(self) -> None:
        self.discarded = self.discarded or self.size > 0
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)
        self.validator = None

    def finish(self) -> None:
        self.path.replace(self.target)
        self._notes.unlink(missing_ok=True)


def _download_one(url: str, target: Path, expected: Expected, patience: Patience) -> str:
    """Fetch from one address; what was put together over several tries gets a second chance from the start."""
    log.info("%s from %s", target.name, url)
    part = _Part(target, url, expected)
    with _session() as session:
        while True:
            _receive_all(session, part, expected, patience)
            try:
                sha256 = verify(part.path, expected)
            except RespfmError as error:
                final = part.discarded or not part.resumed
                part.discard()
                if final:
                    raise _Lost(f"what it sends is not what the registry knows: {error}") from error
                continue
            part.finish()
            return sha256


def _receive_all(session: requests.Session, part: _Part, expected: Expected, patience: Patience) -> None:
    """Ask again until the file is complete, or until `patience` ends without a byte more."""
    furthest, failures = part.size, 0
    while True:
        try:
            _receive(session, part, expected, patience)
            return
        except _Retry as retry:
            failures = 1 if part.size > furthest else failures + 1
            furthest = max(furthest, part.size)
            if failures >= patience.attempts:
                raise _Lost(f"{retry}, {patience.attempts} times") from retry
            _wait(failures, retry.wait, patience)


def _receive(session: requests.Session, part: _Part, expected: Expected, patience: Patience) -> None:
    """One request: append to the part file, or write it from the start, until the server has sent everything."""
    offset = part.size
    if offset and offset == expected.bytes:
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "respfm"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if part.validator:
            headers["If-Range"] = part.validator
    try:
        with session.get(
            part.url, headers=headers, stream=True, timeout=(patience.connect, patience.stall)
        ) as response:
            start, total = _check_response(response, part, offset, expected)
            with (
                open(part.path, "ab" if start else "wb") as sink,
                tqdm(
                    desc=part.target.name,
                    total=total,
                    initial=start,
                    unit="B",
                    unit_scale=True,
                    disable=None,
                ) as bar,
            ):
                for block in response.raw.stream(_BLOCK, decode_content=False):
                    sink.write(block)
                    bar.update(len(block))
                    if total is not None and sink.tell() > total:
                        break
    except requests.exceptions.SSLError as error:
        raise _Lost(_reason(error)) from error
    except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
        raise _Retry(_reason(error)) from error
    except requests.RequestException as error:
        raise _Lost(_reason(error)) from error
    if total is not None and part.size > total:
        part.discard()
        raise _Lost(f"the server sends more than the file's {total} bytes")
    if total is not None and part.size < total:
        raise _Retry(f"the transfer ended after {part.size} of {total} bytes")


def _check_response(
    response: requests.Response, part: _Part, offset: int, expected: Expected
) -> tuple[int, int | None]:
    """Where the body starts in the file, and the size of the whole file if the server says it."""
    status = response.status_code
    if status in _BUSY:
        raise _Retry(f"the server answers {status}", _retry_after(response.headers.get("Retry-After")))
    if status == 416:
        part.discard()
        raise _Retry("the server has fewer bytes than were received before")
    if status not in (200, 206):
        raise _Lost(f"the server answers {status} {response.reason}")
    if not expected.digest and response.headers.get("Content-Type", "").startswith("text/html"):
        raise _Lost("the server sends a web page instead of the file")
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdigit() else expected.bytes
    start = 0
    if status == 206:
        span, _, whole = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        start, total = offset, int(whole) if whole.isdigit() else expected.bytes
        if span.partition("-")[0] != str(offset) or not part.continues(response.headers):
            part.discard()
            raise _Retry("the server sends another range or version than was asked for")
        part.resumed = True
    else:
        part.begin(response.headers)
    if total is not None and expected.bytes is not None and total != expected.bytes:
        part.discard()
        raise _Lost(f"the server's file has {total} bytes instead of {expected.bytes}")
    return start, total


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, if it says so in one of its two forms."""
    with contextlib.suppress(InvalidHeader):
        return Retry().parse_retry_after(value) if value else None
    return None


def _wait(failures: int, asked: float | None, patience: Patience) -> None:
    if asked is None:
        asked = random.uniform(0.5, 1.0) * patience.first_wait * 2 ** (failures - 1)
    time.sleep(min(asked, patience.longest_wait))


def _reason(error: BaseException) -> str:
    """The innermost cause, which says more than the chain of wrappers around it."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error).strip() or type(error).__name__
