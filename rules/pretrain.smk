"""M2D pre-training (paper sections 2.3 and 3.2, the rows of Table 4).

Inputs: a mixture, its statistics and log-mel shards; for further pre-training, the encoder to start from.
Outputs: <results>/pretraining/<run>/{encoder.safetensors,checkpoint.pth,history.csv,curves.pdf,curves.png}.
Steps: pretrain_encoder. Its checkpoints lie beside the outputs, undeclared, keyed by the run's digest, so that a
failed or pre-empted job continues where it was and a changed run does not.
"""

PRETRAIN_THREADS = plan.config["resources"].get("pretrain_threads", THREADS)
# How the encoder is computed, which does not decide what it becomes.
MACHINE = canonical_json({**plan.config["machine"], "device": DEVICE, "threads": PRETRAIN_THREADS, "gpus": GPUS})


def mixture_of_run(wildcards):
    """The list of recordings of a run."""
    return f"<results>/mixtures/{plan.settings.runs[wildcards.run]['mixture']}.parquet"


def statistics_of_run(wildcards):
    """Normalisation statistics of a run's mixture."""
    return f"<results>/statistics/{plan.settings.runs[wildcards.run]['mixture']}.json"


def shards_of_run(wildcards):
    """Log-mel shards of a run, background included."""
    return shards_of(plan.datasets_of_run(wildcards.run))


def background_of_run(wildcards):
    """List and statistics of the background noise of a run, if it has one."""
    name = plan.settings.runs[wildcards.run].get("background")
    return [f"<results>/mixtures/{name}.parquet", f"<results>/statistics/{name}.json"] if name else []


def weights_from(run, model):
    """The checkpoint of a run of ours or of a published model; nothing if neither is named."""
    if run:
        return f"<results>/pretraining/{run}/checkpoint.pth"
    return checkpoint_of(model) if model else []


def init_of_run(wildcards):
    """What a run starts from."""
    return weights_from(plan.parent_run(wildcards.run), plan.parent_model(wildcards.run))


def teacher_of_run(wildcards):
    """The offline teacher of a run."""
    return weights_from(plan.teacher_run(wildcards.run), plan.teacher_model(wildcards.run))


rule pretrain_encoder:
    input:
        mixture=mixture_of_run,
        statistics=statistics_of_run,
        shards=shards_of_run,
        background=background_of_run,
        init_from=init_of_run,
        teacher=teacher_of_run,
    output:
        encoder="<results>/pretraining/{run}/encoder.safetensors",
        checkpoint="<results>/pretraining/{run}/checkpoint.pth",
        history="<results>/pretraining/{run}/history.csv",
        curves_pdf="<results>/pretraining/{run}/curves.pdf",
        curves_png="<results>/pretraining/{run}/curves.png",
    log:
        "<logs>/pretrain_encoder/{run}.log",
    benchmark:
        "<benchmarks>/pretrain_encoder/{run}.tsv"
    priority: 10
    conda:
        "../envs/torch.yaml"
    threads: PRETRAIN_THREADS
    resources:
        mem_mb=memory(MEMORY_GB),
        # A run that needs longer continues in the next job.
        runtime=24 * 60,
        gpu=GPUS,
        gres=gres(GPUS),
        # A resource, not a param: another machine is no reason to train again.
        machine=MACHINE,
    params:
        cfg=as_json(parameters.pretrain_encoder),
        code=code("pretrain_encoder"),
    script:
        "../workflow/scripts/pretrain_encoder.py"


rule pretrain_all:
    input:
        shards_of(plan.mixture_datasets),
        expand("<results>/statistics/{mixture}.json", mixture=plan.mixtures),
        expand("<results>/pretraining/{run}/encoder.safetensors", run=plan.runs),
