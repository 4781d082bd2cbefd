"""Linear probes on frozen embeddings (paper section 2.1).

Inputs: embeddings of a task's data set, the task's labels and splits.
Outputs: <results>/scores/<protocol>/<model>/<task>.csv, every layer and run; under `strict` predictions beside.
Steps: probe_published (the published protocol), probe_strict (the strict one).
"""


def embeddings_of_task(protocol):
    """Embeddings of the task's data set under `protocol`."""
    return lambda wildcards: (
        f"<results>/embeddings/{protocol}/{wildcards.model}/{plan.settings.tasks[wildcards.task]['dataset']}.h5"
    )


rule probe_published:
    input:
        embeddings=embeddings_of_task("published"),
        task="<results>/tasks/published/{task}.parquet",
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
        cfg=as_json(parameters.probe_published),
        code=code("probe_published"),
    script:
        "../workflow/scripts/probe_published.py"


rule probe_strict:
    input:
        embeddings=embeddings_of_task("strict"),
        task="<results>/tasks/strict/{task}.parquet",
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
        cfg=as_json(parameters.probe_strict),
        code=code("probe_strict"),
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
