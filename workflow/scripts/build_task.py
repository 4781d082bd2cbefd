"""Write a task's recordings, labels and splits under one protocol."""

from respfm.curate.tasks import build_task
from respfm.files import atomic_path
from respfm.jobs.job import job
from respfm.recordings import read_recordings
from respfm.retrieve.sources import raw_root

with job(snakemake) as cfg:
    table = build_task(
        snakemake.wildcards.task,
        cfg["task"],
        snakemake.wildcards.protocol,
        read_recordings(snakemake.input.recordings),
        raw_root(snakemake.input.labels),
        cfg["seed"],
        cfg["allow_partial"],
    )
    with atomic_path(snakemake.output.task) as temporary:
        table.to_parquet(temporary, index=False)
