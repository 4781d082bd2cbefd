"""From files to tables: recordings, tasks under both protocols, pre-training mixtures.

Inputs: <results>/raw/<dataset>/.sources.json.
Outputs: <results>/recordings/<dataset>.parquet, tasks/<protocol>/<task>.parquet, mixtures/<mixture>.parquet.
Steps: curate_recordings, build_task, build_mixture (paper sections 2.1 and 3.2, Table 1).
"""

from respfm.config.plan import LABEL_SOURCE

PARSERS = {name: f"respfm.curate.{plan.settings.datasets[name]['kind']}" for name in plan.datasets}


def recordings_of_task(wildcards):
    """The recordings table of a task's data set."""
    return f"<results>/recordings/{plan.settings.tasks[wildcards.task]['dataset']}.parquet"


def recordings_of_mixture(wildcards):
    """The recordings tables that a mixture draws from."""
    return expand("<results>/recordings/{name}.parquet", name=plan.datasets_of(wildcards.mixture))


def tasks_kept_out_of_mixture(wildcards):
    """The strict task tables whose test recordings and patients a mixture leaves out."""
    return expand("<results>/tasks/strict/{task}.parquet", task=plan.tasks_kept_out_of(wildcards.mixture))


# One row a recording; each is decoded once, and those that cannot be used are quarantined.
rule curate_recordings:
    input:
        sources="<results>/raw/{dataset}/.sources.json",
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
        cfg=as_json(parameters.curate_recordings),
        code=code("curate_recordings", dataset=PARSERS),
    script:
        "../workflow/scripts/curate_recordings.py"


# Recordings, labels and splits of a task under one protocol.
rule build_task:
    input:
        recordings=recordings_of_task,
        labels=f"<results>/raw/{LABEL_SOURCE}/.sources.json",
    output:
        task="<results>/tasks/{protocol}/{task}.parquet",
    log:
        "<logs>/build_task/{protocol}/{task}.log",
    benchmark:
        "<benchmarks>/build_task/{protocol}/{task}.tsv"
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=as_json(parameters.build_task),
        code=code("build_task"),
    script:
        "../workflow/scripts/build_task.py"


# The list of recordings that a run is pre-trained on, how often each.
rule build_mixture:
    input:
        recordings=recordings_of_mixture,
        tasks=tasks_kept_out_of_mixture,
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
        cfg=as_json(parameters.build_mixture),
        code=code("build_mixture"),
    script:
        "../workflow/scripts/build_mixture.py"


rule curate_all:
    input:
        expand("<results>/recordings/{dataset}.parquet", dataset=plan.datasets),
        expand("<results>/tasks/{protocol}/{task}.parquet", protocol=plan.protocols, task=plan.tasks),
        expand("<results>/mixtures/{mixture}.parquet", mixture=plan.mixtures),
