"""One row of a benchmark: printed, and kept for docs/benchmarks.md when `make bench` runs the scripts."""

import json
import os


def report(name: str, measured: str, baseline: str, ratio: float) -> None:
    """Print a row; append it as a line of JSON to the file that RESPFM_BENCH_LOG names.

    `measured` and `baseline` are numbers with their unit ("845 clips/s", "plain loop 316 clips/s") from the same run;
    `ratio` above 1 means that respfm is better.
    """
    print(f"{name}: {measured}; {baseline}; ratio {ratio:.3g}", flush=True)
    if log := os.environ.get("RESPFM_BENCH_LOG"):
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(
                json.dumps({"name": name, "measured": measured, "baseline": baseline, "ratio": ratio}, allow_nan=False)
                + "\n"
            )
