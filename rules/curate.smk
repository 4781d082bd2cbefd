"""From files to tables: recordings, tasks under both protocols, pre-training mixtures, and their audit.

Inputs: <results>/raw/<dataset>/.sources.json.
Outputs: <results>/recordings/<dataset>.parquet, tasks/<protocol>/<task>.parquet, mixtures/<mixture>.parquet,
audit/{leakage,duplicates,metadata_baselines}.csv.
Steps: curate_recordings, build_task, build_mixture, audit_* (paper sections 2.1 and 3.2, Table 1).
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


rule audit_leakage:
    input:
        tasks=ALL_TASKS,
        mixtures=results_of("mixtures/{name}.parquet", name=plan.mixtures),
        recordings=results_of("recordings/{name}.parquet", name=plan.task_datasets),
        code=code("audit_leakage"),
    output:
        table="<results>/audit/leakage.csv",
    log:
        "<logs>/audit_leakage.log",
    benchmark:
        "<benchmarks>/audit_leakage.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(4),
        runtime=minutes(60),
    script:
        "../workflow/scripts/audit_leakage.py"


rule audit_metadata:
    input:
        tasks=ALL_TASKS,
        recordings=results_of("recordings/{name}.parquet", name=plan.task_datasets),
        code=code("audit_metadata"),
    output:
        table="<results>/audit/metadata_baselines.csv",
    log:
        "<logs>/audit_metadata.log",
    benchmark:
        "<benchmarks>/audit_metadata.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(4),
        runtime=minutes(60),
    script:
        "../workflow/scripts/audit_metadata.py"


rule audit_duplicates:
    input:
        tasks=ALL_TASKS,
        mixtures=results_of("mixtures/{name}.parquet", name=plan.mixtures),
        recordings=results_of("recordings/{name}.parquet", name=plan.task_datasets),
        sources=results_of("raw/{name}/.sources.json", name=plan.task_datasets),
        code=code("audit_duplicates"),
    output:
        table="<results>/audit/duplicates.csv",
    log:
        "<logs>/audit_duplicates.log",
    benchmark:
        "<benchmarks>/audit_duplicates.tsv"
    conda:
        "../envs/data.yaml"
    threads: THREADS
    resources:
        mem_mb=memory(4),
        runtime=minutes(60),
    script:
        "../workflow/scripts/audit_duplicates.py"


rule curate_all:
    input:
        expand("<results>/recordings/{dataset}.parquet", dataset=plan.datasets),
        expand("<results>/tasks/{protocol}/{task}.parquet", protocol=plan.protocols, task=plan.tasks),
        expand("<results>/mixtures/{mixture}.parquet", mixture=plan.mixtures),
        results_of("audit/{name}.csv", name=["leakage", "duplicates", "metadata_baselines"]),
