"""What the tasks and mixtures share, and what metadata alone tells (paper section 2.1).

Inputs: tables of recordings, tasks and mixtures; the recordings themselves.
Outputs: <results>/audit/{leakage,duplicates,metadata_baselines}.csv.
Steps: audit_leakage, audit_metadata, audit_duplicates.
"""


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


rule audit_all:
    input:
        expand("<results>/audit/{name}.csv", name=["leakage", "duplicates", "metadata_baselines"]),
