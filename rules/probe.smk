"""Linear probes on frozen embeddings (paper section 2.1).

Inputs: embeddings of a task's data set, the task's labels and splits.
Outputs: <results>/scores/<protocol>/<model>/<task>.csv, every layer and run; under `strict` predictions beside.
Steps: probe_published (the published protocol), probe_strict (the strict one).
"""


rule probe_published:
    input:
        embeddings=embeddings_of_task("published"),
        task="<results>/tasks/published/{task}.parquet",
        code=code("probe_published", "respfm.probe.published"),
    output:
        scores="<results>/scores/published/{model}/{task}.csv",
    log:
        "<logs>/probe_published/{model}/{task}.log",
    benchmark:
        "<benchmarks>/probe_published/{model}/{task}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: THREADS
    resources:
        mem_mb=memory(MEMORY_GB),
        runtime=minutes(60),
    params:
        cfg=parameters("probe_published"),
    script:
        "../workflow/scripts/probe_published.py"


rule probe_strict:
    input:
        embeddings=embeddings_of_task("strict"),
        task="<results>/tasks/strict/{task}.parquet",
        code=code("probe_strict", "respfm.probe.strict"),
    output:
        scores="<results>/scores/strict/{model}/{task}.csv",
        predictions="<results>/scores/strict/{model}/{task}.predictions.parquet",
    log:
        "<logs>/probe_strict/{model}/{task}.log",
    benchmark:
        "<benchmarks>/probe_strict/{model}/{task}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: THREADS
    resources:
        mem_mb=memory(MEMORY_GB),
        runtime=minutes(60),
    params:
        cfg=parameters("probe_strict"),
    script:
        "../workflow/scripts/probe_strict.py"


rule probe_all:
    input:
        expand(
            "<results>/scores/{protocol}/{model}/{task}.csv",
            protocol=plan.protocols,
            model=plan.models,
            task=plan.tasks,
        ),
