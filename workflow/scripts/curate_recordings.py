"""List the recordings of a data set, decode each once, and say which cannot be used and why."""

import importlib

from respfm.curate.inspect import check_recordings, inspect_recordings
from respfm.files import atomic_path
from respfm.jobs.job import job
from respfm.retrieve.sources import raw_root

with job(snakemake) as cfg:
    root = raw_root(snakemake.input.sources)
    parser = importlib.import_module(f"respfm.curate.{cfg.pop('kind')}")
    frame = parser.list_recordings(root, cfg.pop("options"))
    frame = inspect_recordings(frame, root, workers=snakemake.threads)
    check_recordings(snakemake.wildcards.dataset, frame, **cfg)
    with atomic_path(snakemake.output.recordings) as temporary:
        frame.to_parquet(temporary, index=False)
