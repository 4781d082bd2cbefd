"""M2D pre-training (paper sections 2.3 and 3.2, the rows of Table 4).

Inputs: a mixture, its statistics and log-mel shards; for further pre-training, the encoder to start from.
Outputs: <results>/pretraining/<run>/{encoder.safetensors,checkpoint.pth,history.csv,curves.pdf,curves.png}.
Steps: pretrain_encoder. Its training state lies beside the outputs, undeclared, keyed by the run's digest, so that a
failed or pre-empted job continues where it was and a changed run does not.
"""


rule pretrain_encoder:
    input:
        mixture=mixture_of_run,
        statistics=statistics_of_run,
        shards=shards_of_run,
        background=background_of_run,
        init_from=init_of_run,
        teacher=teacher_of_run,
        code=code("pretrain_encoder"),
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
        machine=MACHINE,
    params:
        cfg=parameters("pretrain_encoder"),
    script:
        "../workflow/scripts/pretrain_encoder.py"


rule pretrain_all:
    input:
        expand(
            "<results>/logmel/{shard}.h5",
            shard=[f"{name}/{shard}" for name in plan.mixture_datasets for shard in plan.shards_of(name)],
        ),
        expand("<results>/statistics/{mixture}.json", mixture=plan.mixtures),
        expand("<results>/pretraining/{run}/encoder.safetensors", run=plan.runs),
