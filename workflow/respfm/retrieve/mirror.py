"""Copies of remote files kept elsewhere: directories or URL prefixes laid out as <host>/<path>."""

import csv
import functools
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from respfm.errors import RespfmError
from respfm.retrieve.checksums import Expected

_SHA256 = re.compile("[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Copy:
    """A mirror's copy of a remote file: where it is, and what its manifest says of it (None: nothing)."""

    location: Path | str
    expected: Expected | None


def mirror_path(url: str) -> str:
    """The place of a URL inside a mirror: `<host>/<path>`, percent escapes resolved, without the query.

    Raises RespfmError if it is not an http(s) URL or its path climbs with `..`.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme not in ("http", "https") or not parts.netloc or ".." in path.split("/"):
        raise RespfmError(f"{url!r} is not an address of a file: it must read http(s)://<host>/<path>")
    return f"{parts.netloc.rpartition('@')[2]}/{path.lstrip('/')}"


class Mirror:
    """One entry of the configuration's mirror list, `{path, checksums?, urlmap?}`.

    `path` is a directory or an http(s) prefix. `checksums` is a CSV in it with the columns path and sha256, perhaps
    bytes: its files were rebuilt and are checked against it instead of the publisher's digests. `urlmap` is a CSV in
    it with the columns url and path, for files kept elsewhere than at `<host>/<path>`. `read_url` fetches a small text
    file of a remote mirror; mirrors that are directories need none.
    """

    def __init__(self, spec: dict[str, str], read_url: Callable[[str], str] | None = None) -> None:
        self._spec, self._read_url = spec, read_url
        self.path = spec["path"]
        self.remote = urlsplit(self.path).scheme in ("http", "https")
        if self.remote and "@" in urlsplit(self.path).netloc:
            raise RespfmError(
                "a mirror's address holds a user name or password, which logs and reports would show: put them into "
                "~/.netrc, which is read when the mirror is asked, and name the mirror without them"
            )
        if not self.remote and not Path(self.path).is_dir():
            raise RespfmError(f"the mirror {self.path} is not a directory: correct `mirror` in the configuration")

    def place(self, url: str) -> str:
        """Where the mirror keeps `url`, relative to its path."""
        return self._urlmap.get(url) or mirror_path(url)

    def find(self, url: str) -> Copy | None:
        """The mirror's copy of `url`; None if the mirror does not claim to have it.

        A remote mirror without a manifest claims everything; asking it may fail. Raises RespfmError if the manifest
        lists the file and the directory lacks it.
        """
        place = self.place(url)
        listed = self._manifest.get(place)
        if self.remote:
            if self._manifest and listed is None:
                return None
            return Copy(f"{self.path.rstrip('/')}/{quote(place, safe='/:')}", listed)
        path = Path(self.path, place)
        if path.is_file():
            return Copy(path, listed)
        if listed is not None or url in self._urlmap:
            raise RespfmError(
                f"the mirror {self.path} lists {place} but the file is missing there: copy it again or take "
                "the mirror out of the configuration"
            )
        return None

    @functools.cached_property
    def _urlmap(self) -> dict[str, str]:
        return {row["url"]: row["path"] for row in self._rows("urlmap", {"url", "path"})}

    @functools.cached_property
    def _manifest(self) -> dict[str, Expected]:
        manifest = {}
        for row in self._rows("checksums", {"path", "sha256"}):
            size, sha256 = row.get("bytes") or "", row["sha256"] or ""
            if not _SHA256.fullmatch(sha256) or (size and not size.isdecimal()):
                raise RespfmError(
                    f"{self._spec['checksums']} of the mirror {self.path} gives {row['path']} a sha256 or bytes that "
                    "is no such thing: make the table again"
                )
            known = int(size) if size else None
            manifest[row["path"]] = Expected(bytes=known, sha256=sha256, source="mirror manifest")
        return manifest

    def _rows(self, key: str, columns: set[str]) -> list[dict[str, str]]:
        name = self._spec.get(key)
        if not name:
            return []
        try:
            if self._read_url and self.remote:
                text = self._read_url(f"{self.path.rstrip('/')}/{name}")
            else:
                text = Path(self.path, name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise RespfmError(f"{name} of the mirror {self.path} cannot be read: {error}") from error
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if not columns <= set(reader.fieldnames or ()):
            raise RespfmError(f"{name} of the mirror {self.path} must have the columns {', '.join(sorted(columns))}")
        return list(reader)


def local_copies(urls: Iterable[str], specs: Iterable[dict[str, str]]) -> list[str]:
    """The copies of `urls` in the mirrors that are directories, for a workflow to watch."""
    mirrors = [Mirror(spec) for spec in specs]
    found = []
    for url in urls:
        copies = (mirror.find(url) for mirror in mirrors if not mirror.remote)
        if copy := next(filter(None, copies), None):
            found.append(str(copy.location))
    return found
