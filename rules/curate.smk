"""From files to tables: recordings, tasks under both protocols, pre-training mixtures.

Inputs: <results>/raw/<dataset>/.sources.json.
Outputs: <results>/recordings/<dataset>.parquet, tasks/<protocol>/<task>.parquet, mixtures/<mixture>.parquet.
Steps: curate_recordings, build_task, build_mixture (paper sections 2.1 and 3.2, Table 1).
"""


rule curate_recordings:
    input:
        sources="<results>/raw/{dataset}/.sources.json",
        code=code_by("curate_recordings", parser_of),
    output:
        recordings="<results>/recordings/{dataset}.parquet",
    log:
        "<logs>/curate_recordings/{dataset}.log",
    benchmark:
        "<benchmarks>/curate_recordings/{dataset}.tsv"
    conda:
        "../envs/data.yaml"
    threads: THREADS
    resources:
        mem_mb=memory(2),
        runtime=minutes(120),
    params:
        cfg=parameters("curate_recordings"),
    script:
        "../workflow/scripts/curate_recordings.py"


rule build_task:
    input:
        recordings=recordings_of_task,
        labels=f"<results>/raw/{LABEL_SOURCE}/.sources.json",
        code=code("build_task"),
    output:
        task="<results>/tasks/{protocol}/{task}.parquet",
    log:
        "<logs>/build_task/{protocol}/{task}.log",
    benchmark:
        "<benchmarks>/build_task/{protocol}/{task}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=parameters("build_task"),
    script:
        "../workflow/scripts/build_task.py"


rule build_mixture:
    input:
        recordings=recordings_of_mixture,
        tasks=tasks_kept_out_of_mixture,
        code=code("build_mixture"),
    output:
        mixture="<results>/mixtures/{mixture}.parquet",
    log:
        "<logs>/build_mixture/{mixture}.log",
    benchmark:
        "<benchmarks>/build_mixture/{mixture}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(2),
        runtime=minutes(10),
    params:
        cfg=parameters("build_mixture"),
    script:
        "../workflow/scripts/build_mixture.py"


rule curate_all:
    input:
        expand("<results>/recordings/{dataset}.parquet", dataset=plan.datasets),
        expand("<results>/tasks/{protocol}/{task}.parquet", protocol=plan.protocols, task=plan.tasks),
        expand("<results>/mixtures/{mixture}.parquet", mixture=plan.mixtures),
