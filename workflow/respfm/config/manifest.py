"""Manifests: the remote files of a data set as plain text, one line a file."""

import re
from pathlib import Path
from typing import Any

from respfm.config.reading import read_text
from respfm.errors import RespfmError

_LINE = re.compile(
    r"(?P<name>(?!(\S*/)?\.\.?(/|\s|$))[^\s/]+(/[^\s/]+)*)"
    r"( (sha256:(?P<sha256>[0-9a-f]{64})|md5:(?P<md5>[0-9a-f]{32})|git_blob:(?P<git_blob>[0-9a-f]{40})))?"
    r"( (?P<bytes>\d+))?"
)
_CHECKS = ("sha256", "md5", "git_blob", "bytes")
_ARCHIVE = re.compile(r"(?P<archive>.+\.(?P<kind>zip|7z|tar|tar\.gz|tar\.xz|tar\.bz2))(\.(?P<part>[A-Za-z0-9]+))?")


def read_manifest(path: Path, base: str) -> list[dict[str, Any]]:
    """Files of a data set in the form of `files` in config/datasets.yaml.

    A line is `<path below base> <sha256, md5 or git_blob>:<digest> <bytes>`, of which only the path has to be there; a
    line that begins with # is a comment. Archives are unpacked in the data set's folder, other files keep their path.
    An archive published in parts has a line for each, `<archive>.<part>`, in their order.

    Raises:
        RespfmError: the file cannot be read, or a line is damaged.
    """
    files: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if not found:
            raise RespfmError(
                f"{path}: line {number} is damaged; write `<path> <sha256, md5 or git_blob>:<digest> <bytes>`"
            )
        checks = {key: int(found[key]) if key == "bytes" else found[key] for key in _CHECKS if found[key]}
        if not _add(files, base, found["name"], checks):
            raise RespfmError(f"{path}: line {number} does not go with an earlier line of {found['name']}; remove one")
    return list(files.values())


def _add(files: dict[str, dict[str, Any]], base: str, name: str, checks: dict[str, Any]) -> bool:
    """Add a file, or a part to its archive; False if it is there already or has other checks than the parts before."""
    archive = _ARCHIVE.fullmatch(name)
    if archive and archive["part"]:
        entry = files.setdefault(archive["archive"], {"url": base + archive["archive"], "unpack": archive["kind"]})
        parts = entry.setdefault("parts", [])
        if archive["part"] in parts or (parts and checks.keys() != entry.keys() & set(_CHECKS)):
            return False
        parts.append(archive["part"])
        for key, value in checks.items():
            entry.setdefault(key, []).append(value)
        return True
    if name in files:
        return False
    placed = {"unpack": archive["kind"]} if archive else {"path": name} if "/" in name else {}
    files[name] = {"url": base + name, **placed, **checks}
    return True
