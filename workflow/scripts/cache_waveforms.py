"""Decode and resample the recordings of a data set once for all models of one sample rate."""

from respfm.curate.select import select
from respfm.embed.waveforms import write_waveforms
from respfm.jobs.job import job
from respfm.recordings import read_recordings, usable
from respfm.retrieve.sources import raw_root

with job(snakemake) as cfg:
    write_waveforms(
        snakemake.output.waveforms,
        select(usable(read_recordings(snakemake.input.recordings)), cfg["pool"], f"{cfg['dataset']}: pool"),
        raw_root(snakemake.input.sources),
        cfg["sample_rate"],
        workers=snakemake.threads,
    )
