"""Score classifiers that see the metadata of a task's recordings and never the sound."""

from pathlib import Path

from respfm.audit.metadata_baselines import metadata_baselines
from respfm.files import write_text
from respfm.jobs.job import job
from respfm.recordings import read_recordings, read_tasks

with job(snakemake):
    table = metadata_baselines(
        read_tasks(snakemake.input.tasks),
        {Path(path).stem: read_recordings(path) for path in snakemake.input.recordings},
    )
    write_text(snakemake.output.table, table.to_csv(index=False, float_format="%.6f"))
