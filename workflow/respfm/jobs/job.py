"""What surrounds a job: its inputs are checked, what it prints is logged, what went wrong is said in one sentence."""

import contextlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from respfm.errors import RespfmError
from respfm.files import remove_drafts, why_not_written
from respfm.jobs.checksums import check_seals, seal_of, write_seals

_DAY = 86_400


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
def job_log(path: str | Path, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> Iterator[None]:
    """Copy stdout and stderr of the block to the file `path`; check the seals of `inputs` before, seal `outputs` after.

    A RespfmError, a full or a read-only disk end the process with exit status 1 and one sentence as the last line; the
    traceback of any other exception is in the log too.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", buffering=1, encoding="utf-8") as file:
        out, err = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Tee(out, file), _Tee(err, file)
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
        try:
            _date_back(inputs)
            check_seals(inputs)
            for output in outputs:
                seal_of(output).unlink(missing_ok=True)
                remove_drafts(output)
            yield
            write_seals(outputs)
        except RespfmError as error:
            print(f"respfm: {error}", file=sys.stderr, flush=True)
            raise SystemExit(1) from None
        except Exception as error:
            traceback.print_exc(file=file)
            if reason := why_not_written(error):
                print(f"respfm: {error}: {reason} and run again.", file=sys.stderr, flush=True)
                raise SystemExit(1) from None
            raise
        finally:
            sys.stdout, sys.stderr = out, err


def _date_back(inputs: Iterable[str]) -> None:
    """Date inputs from the future, as skewed clocks make them, to yesterday.

    Snakemake would find the outputs older than them, fail the job that made them, and delete them.
    """
    now = time.time()
    for path in inputs:
        if os.stat(path).st_mtime > now:
            with contextlib.suppress(OSError):
                os.utime(path, (now - _DAY, now - _DAY))
