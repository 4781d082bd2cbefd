"""Frozen embeddings of every layer of every model (paper section 2.2).

Inputs: recordings of a task data set, the weights of a model; of a model that is normalised by training data, tasks.
Outputs: <results>/embeddings/<protocol>/<model>/<dataset>.h5, made once for all tasks of the data set.
Steps: cache_waveforms, extract_embeddings. What an unfinished embedding job has lies beside its output, undeclared, keyed
by all that decides the result, so that a job that is killed continues where it was five minutes before.
"""

from respfm.encoders import family_module

ENCODERS = {
    name: family_module(plan.settings.models[name]["family"]) for name in [*plan.models, *plan.checkpoint_models()]
}


def waveforms_of_model(wildcards):
    """The cached waveforms of a data set at the rate of a model; nothing if its entry names none."""
    rate = plan.waveform_rate(wildcards.model)
    return f"<results>/waveforms/{wildcards.dataset}/{rate}.h5" if rate else []


def weights_of_model(wildcards):
    """The weights of a model under a protocol."""
    run = plan.run_of(wildcards.model, wildcards.protocol)
    return f"<results>/pretraining/{run}/encoder.safetensors" if run else checkpoint_of(wildcards.model)


def tasks_of_statistics(wildcards):
    """Strict task tables whose training recordings give the statistics that normalise a model's input."""
    return expand("<results>/tasks/strict/{task}.parquet", task=plan.statistics_tasks(**dict(wildcards.items())))


# Not temp(): a file that is made again counts as changed, and one model's edit would embed with all of its rate again.
rule cache_waveforms:
    input:
        recordings="<results>/recordings/{dataset}.parquet",
        sources="<results>/raw/{dataset}/.sources.json",
    output:
        waveforms="<results>/waveforms/{dataset}/{rate}.h5",
    log:
        "<logs>/cache_waveforms/{dataset}/{rate}.log",
    benchmark:
        "<benchmarks>/cache_waveforms/{dataset}/{rate}.tsv"
    conda:
        "../envs/data.yaml"
    threads: THREADS
    resources:
        mem_mb=memory(2),
        runtime=minutes(60),
        disk_mb=16384,
    params:
        cfg=as_json(parameters.cache_waveforms),
        code=code("cache_waveforms"),
    script:
        "../workflow/scripts/cache_waveforms.py"


rule extract_embeddings:
    input:
        recordings="<results>/recordings/{dataset}.parquet",
        sources="<results>/raw/{dataset}/.sources.json",
        waveforms=waveforms_of_model,
        weights=weights_of_model,
        tasks=tasks_of_statistics,
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
        gres=gres(min(GPUS, 1)),
        device=DEVICE,
        # Snakemake lowers `threads` to --cores; sums of PyTorch, and so the embeddings, must not depend on that.
        torch_threads=THREADS,
    params:
        cfg=as_json(parameters.extract_embeddings),
        code=code("extract_embeddings", model=ENCODERS),
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
