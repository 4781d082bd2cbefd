"""Pre-train one encoder, continuing an interrupted run where it was."""

import json
from pathlib import Path

from respfm.jobs.job import job
from respfm.pretrain.launch import launch
from respfm.recordings import group_shards
from respfm.retrieve.sources import weights_path

with job(snakemake) as cfg:
    machine = json.loads(snakemake.resources.machine)
    gpus = machine.pop("gpus")
    background, background_statistics = snakemake.input.get("background") or (None, None)
    shards = group_shards(snakemake.input.shards)
    launch(
        {
            "run": cfg,
            "mixture": snakemake.input.mixture,
            "statistics": snakemake.input.statistics,
            "background": background,
            "background_statistics": background_statistics,
            "shards": {dataset: list(map(str, paths)) for dataset, paths in shards.items()},
            "init_from": weights_path(snakemake.input.get("init_from")),
            "teacher": weights_path(snakemake.input.get("teacher")),
            "outdir": str(Path(snakemake.output.encoder).parent),
            "workers": machine.pop("loader_workers"),
            "machine": machine,
        },
        processes=max(1, gpus),
        nodes=snakemake.resources.get("nodes", 1),
        cores=snakemake.threads,
    )
