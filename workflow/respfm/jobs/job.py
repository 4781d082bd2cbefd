"""The job around a script: inputs are checked, what is printed is logged, an error ends as one sentence."""

import contextlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from respfm.errors import RespfmError, why_not_written
from respfm.files import remove_drafts
from respfm.jobs.checksums import check_files, checksum_of, write_checksums

RESOURCES = Path(__file__).resolve().parents[3] / "resources"
_MINUTE, _DAY = 60, 86_400


class _Tee:
    """A text stream that also goes to a file; the redraws of a progress bar stay out of the file."""

    def __init__(self, stream: TextIO, file: TextIO) -> None:
        self.stream, self.file = stream, file

    def write(self, text: str) -> int:
        if not text.startswith("\r"):
            self.file.write(text)
        return self.stream.write(text)

    def flush(self) -> None:
        self.file.flush()
        self.stream.flush()

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[dict[str, Any]]:
    """Surround the work of a script; yields its part of the configuration, the JSON of `params.cfg` ({} without one).

    `snakemake` is the object that Snakemake gives to a script; its log, input, output and params are used. stdout and
    stderr are copied to the log. Inputs are compared with their checksums first; outputs get theirs at the end.

    A RespfmError, a full or a read-only disk end the process with exit status 1 and one sentence as the last line; the
    traceback of any other exception is in the log too.
    """
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", buffering=1, encoding="utf-8") as file:
        out, err = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Tee(out, file), _Tee(err, file)
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
        try:
            _date_back(snakemake.input)
            check_files(snakemake.input)
            for output in snakemake.output:
                checksum_of(output).unlink(missing_ok=True)
                remove_drafts(output)
            yield json.loads(snakemake.params.get("cfg", "{}"))
            write_checksums(snakemake.output)
        except RespfmError as error:
            print(f"respfm: {error}", file=sys.stderr, flush=True)
            raise SystemExit(1) from None
        except Exception as error:
            traceback.print_exc(file=file)
            if reason := why_not_written(error):
                print(f"respfm: {error}: {reason} and run again", file=sys.stderr, flush=True)
                raise SystemExit(1) from None
            raise
        finally:
            sys.stdout, sys.stderr = out, err


def _date_back(inputs: Iterable[str]) -> None:
    """Date results and files of the repository from the future, as skewed clocks make them, to yesterday.

    Snakemake would find the outputs older than them, fail the job that made them, and delete them. The user's own
    files stay as they are; RespfmError names one that is dated more than a minute ahead.
    """
    now = time.time()
    for path in inputs:
        dated = os.stat(path).st_mtime
        if dated > now and (checksum_of(path).is_file() or Path(path).resolve().is_relative_to(RESOURCES)):
            with contextlib.suppress(OSError):
                os.utime(path, (now - _DAY, now - _DAY))
        elif dated > now + _MINUTE:
            raise RespfmError(f"{path} is dated in the future, so that outputs would count as outdated; `touch` it")
