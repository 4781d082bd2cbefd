"""Linear probes on frozen embeddings (paper section 2.1).

Inputs: embeddings of a task's data set, the task's labels and splits.
Outputs: <results>/scores/<protocol>/<model>/<task>.csv, every layer and run; under `strict` predictions beside.
Steps: train_probe (the published protocol), fit_probe (the strict one).
"""


rule train_probe:
    input:
        embeddings=embeddings_of_task("published"),
        task="<results>/tasks/published/{task}.parquet",
        code=code("train_probe", "respfm.probe.published"),
    output:
        scores="<results>/scores/published/{model}/{task}.csv",
    log:
        "<logs>/train_probe/{model}/{task}.log",
    benchmark:
        "<benchmarks>/train_probe/{model}/{task}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: THREADS
    resources:
        mem_mb=memory(MEMORY_GB),
        runtime=minutes(60),
    params:
        cfg=parameters("train_probe"),
    script:
        "../workflow/scripts/train_probe.py"


rule fit_probe:
    input:
        embeddings=embeddings_of_task("strict"),
        task="<results>/tasks/strict/{task}.parquet",
        code=code("fit_probe", "respfm.probe.strict"),
    output:
        scores="<results>/scores/strict/{model}/{task}.csv",
        predictions="<results>/scores/strict/{model}/{task}.predictions.parquet",
    log:
        "<logs>/fit_probe/{model}/{task}.log",
    benchmark:
        "<benchmarks>/fit_probe/{model}/{task}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: THREADS
    resources:
        mem_mb=memory(MEMORY_GB),
        runtime=minutes(60),
    params:
        cfg=parameters("fit_probe"),
    script:
        "../workflow/scripts/fit_probe.py"


rule probe_all:
    input:
        expand(
            "<results>/scores/{protocol}/{model}/{task}.csv",
            protocol=plan.protocols,
            model=plan.models,
            task=plan.tasks,
        ),
