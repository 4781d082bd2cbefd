"""Decode and resample the recordings of a data set once for all models of one sample rate."""

import json

from respfm.curate.select import select
from respfm.embed.waveforms import write_waveforms
from respfm.jobs.job import job_log
from respfm.recordings import read_recordings, usable
from respfm.retrieve.sources import raw_root

with job_log(snakemake.log[0], snakemake.input, snakemake.output):
    cfg = json.loads(snakemake.params.cfg)
    write_waveforms(
        snakemake.output.waveforms,
        select(usable(read_recordings(snakemake.input.recordings)), cfg["pool"], f"{cfg['dataset']}: pool"),
        raw_root(snakemake.input.sources),
        cfg["sample_rate"],
        workers=snakemake.threads,
    )
