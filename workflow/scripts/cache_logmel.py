"""Write one shard of a data set's log-mel store."""

from respfm.jobs.job import job
from respfm.logmel.build import write_shard
from respfm.recordings import read_shard
from respfm.retrieve.sources import raw_root

with job(snakemake) as cfg:
    root = raw_root(snakemake.input.sources)
    rows = read_shard(snakemake.input.recordings, cfg.pop("shard"), cfg.pop("shards"))
    write_shard(
        snakemake.output.shard,
        list(rows["id"]),
        [root / path for path in rows["path"]],
        workers=snakemake.threads,
        **cfg,
    )
