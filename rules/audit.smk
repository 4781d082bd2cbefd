"""What the tasks and mixtures share, and what metadata alone tells (paper section 2.1).

Inputs: tables of recordings, tasks and mixtures; the recordings themselves.
Outputs: <results>/audit/{leakage,duplicates,metadata_baselines}.csv.
Steps: audit_leakage, audit_metadata, audit_duplicates.
"""

TASKS = expand("<results>/tasks/{protocol}/{task}.parquet", protocol=plan.protocols, task=plan.tasks)
MIXTURES = expand("<results>/mixtures/{mixture}.parquet", mixture=plan.mixtures)
RECORDINGS = expand("<results>/recordings/{dataset}.parquet", dataset=plan.task_datasets)


# Recordings and patients that test and validation share with training data and mixtures.
rule audit_leakage:
    input:
        tasks=TASKS,
        mixtures=MIXTURES,
        recordings=RECORDINGS,
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
    params:
        code=code("audit_leakage"),
    script:
        "../workflow/scripts/audit_leakage.py"


# Scores of classifiers that see metadata and no sound.
rule audit_metadata:
    input:
        tasks=TASKS,
        recordings=RECORDINGS,
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
    params:
        code=code("audit_metadata"),
    script:
        "../workflow/scripts/audit_metadata.py"


# Recordings that sound the same on both sides of a split.
rule audit_duplicates:
    input:
        tasks=TASKS,
        mixtures=MIXTURES,
        recordings=RECORDINGS,
        sources=expand("<results>/raw/{dataset}/.sources.json", dataset=plan.task_datasets),
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
    params:
        code=code("audit_duplicates"),
    script:
        "../workflow/scripts/audit_duplicates.py"


rule audit_all:
    input:
        expand("<results>/audit/{name}.csv", name=["leakage", "duplicates", "metadata_baselines"]),
