"""The log-mel cache in HDF5, and the statistics that normalise each mixture.

Inputs: <results>/recordings/<dataset>.parquet and the files it names.
Outputs: <results>/logmel/<dataset>/<shard>.h5, <results>/statistics/<mixture>.json.
Steps: cache_logmel (paper section 2.3: 80 bands, 25 ms window, 10 ms hop), compute_statistics.
"""


def shards_of_mixture(wildcards):
    """Log-mel shards of a mixture."""
    return shards_of(plan.datasets_of(wildcards.mixture))


rule cache_logmel:
    input:
        recordings="<results>/recordings/{dataset}.parquet",
        sources="<results>/raw/{dataset}/.sources.json",
    output:
        shard="<results>/logmel/{dataset}/{shard}.h5",
    log:
        "<logs>/cache_logmel/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/cache_logmel/{dataset}/{shard}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: THREADS
    resources:
        mem_mb=memory(4),
        runtime=minutes(60),
        disk_mb=4096,
    params:
        cfg=as_json(parameters.cache_logmel),
        code=code("cache_logmel"),
    script:
        "../workflow/scripts/cache_logmel.py"


# Mean and standard deviation of the frames of a mixture.
rule compute_statistics:
    input:
        mixture="<results>/mixtures/{mixture}.parquet",
        shards=shards_of_mixture,
    output:
        statistics="<results>/statistics/{mixture}.json",
    log:
        "<logs>/compute_statistics/{mixture}.log",
    benchmark:
        "<benchmarks>/compute_statistics/{mixture}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=memory(4),
        runtime=minutes(120),
    params:
        code=code("compute_statistics"),
    script:
        "../workflow/scripts/compute_statistics.py"
