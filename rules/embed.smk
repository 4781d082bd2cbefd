"""Frozen embeddings of every layer of every model (paper section 2.2).

Inputs: recordings of a task data set, the weights of a model.
Outputs: <results>/embeddings/<protocol>/<model>/<dataset>.h5, made once for all tasks of the data set.
Steps: extract_embeddings.
"""


rule extract_embeddings:
    input:
        recordings="<results>/recordings/{dataset}.parquet",
        sources="<results>/raw/{dataset}/.sources.json",
        weights=weights_of_model,
        code=code_by("extract_embeddings", encoder_of),
    output:
        embeddings="<results>/embeddings/{protocol}/{model}/{dataset}.h5",
    log:
        "<logs>/extract_embeddings/{protocol}/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/extract_embeddings/{protocol}/{model}/{dataset}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: THREADS
    resources:
        mem_mb=memory(MEMORY_GB),
        runtime=minutes(240),
        gpu=GPUS,
        device=DEVICE,
        torch_threads=THREADS,
    params:
        cfg=parameters("extract_embeddings"),
    script:
        "../workflow/scripts/extract_embeddings.py"


rule embed_all:
    input:
        expand(
            "<results>/embeddings/{protocol}/{model}/{dataset}.h5",
            protocol=plan.protocols,
            model=plan.models,
            dataset=plan.task_datasets,
        ),
