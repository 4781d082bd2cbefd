"""Embed the recordings of a data set with one model, every layer in one pass."""

import torch
from respfm.curate.select import select
from respfm.device import choose_device
from respfm.embed.dataset import embed_dataset, training_recordings
from respfm.encoders import load_family
from respfm.encoders.base import check_statistics
from respfm.jobs.checkpoints import checkpoints_of, discard_checkpoints
from respfm.jobs.job import job
from respfm.jobs.memory import keep_freed_memory
from respfm.recordings import read_recordings, read_tasks, usable
from respfm.retrieve.sources import raw_root, weights_path

with job(snakemake) as cfg:
    device = choose_device(snakemake.resources.device)
    torch.set_num_threads(snakemake.resources.torch_threads)
    keep_freed_memory()
    recordings = usable(read_recordings(snakemake.input.recordings))
    tasks = read_tasks(snakemake.input.tasks).values()
    encoder = load_family(cfg["family"], weights_path(snakemake.input.get("weights")), cfg["options"], cfg["model"])
    if tasks:
        check_statistics(cfg["model"], encoder)
    embed_dataset(
        encoder,
        select(recordings, cfg["pool"], f"{cfg['dataset']}: pool"),
        raw_root(snakemake.input.sources),
        cfg["protocol"],
        snakemake.output.embeddings,
        waveforms=snakemake.input.get("waveforms"),
        training=training_recordings(tasks) if tasks else (),
        seed=cfg["seed"],
        batch_size=cfg["batch_size"],
        workers=snakemake.threads,
        device=device,
        precision=cfg["precision"],
        attributes={key: cfg[key] for key in ("model", "dataset", "weights")},
        checkpoints=checkpoints_of(
            snakemake.output.embeddings, snakemake.input, [cfg, snakemake.params.code, device.type]
        ),
    )
    discard_checkpoints(snakemake.output.embeddings)
