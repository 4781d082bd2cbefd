"""Mean and standard deviation of the log-mel frames of a mixture."""

import pandas as pd
from respfm.files import write_json
from respfm.jobs.job import job
from respfm.logmel.statistics import mixture_statistics
from respfm.recordings import group_shards

with job(snakemake):
    mixture = pd.read_parquet(snakemake.input.mixture)
    statistics = mixture_statistics(mixture, group_shards(snakemake.input.shards))
    write_json(snakemake.output.statistics, statistics)
