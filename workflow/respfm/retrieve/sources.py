"""Where retrieved files are, according to `.sources.json`, the last file that retrieval writes."""

import json
from pathlib import Path

from respfm.errors import RespfmError
from respfm.files import file_digest


def raw_root(sources: str | Path) -> Path:
    """The directory that holds a data set's files; for a corpus kept by hand that is its own folder."""
    sources = Path(sources)
    return sources.parent / _read(sources)["root"]


def weights_path(weights: str | Path | None) -> str | None:
    """The checkpoint behind a rule's input: the file itself, or the one that a `.sources.json` records.

    Raises RespfmError if a recorded file is no longer what was retrieved.
    """
    if not weights:
        return None
    weights = Path(weights)
    if weights.name != ".sources.json":
        return str(weights)
    record = _read(weights)
    if "member" in record:
        name, digest = record["member"], record["member_sha256"]
    else:
        name, digest = (record["files"][0][key] for key in ("path", "sha256"))
    path = weights.parent / record["root"] / name
    if not path.is_file() or file_digest(path) != digest:
        raise RespfmError(f"{path} is no longer what was retrieved; delete {weights} and run again to retrieve it")
    return str(path)


def _read(sources: Path) -> dict:
    try:
        return json.loads(sources.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RespfmError(f"{sources} cannot be read ({error}); delete it and retrieve the data again") from error
