"""Archives verified and unpacked.

Inputs: the publishers' hosts or a mirror; for the demo, a synthetic corpus made in the publishers' formats.
Outputs: <results>/raw/<dataset>/.sources.json beside the unpacked files; <results>/checkpoints/<model>/.sources.json.
Steps: make_demo_corpus (demo only), retrieve_archive, retrieve_checkpoint; describe_needs prints what is needed.
"""


rule make_demo_corpus:
    input:
        code=code_by("make_demo_corpus", demo_writer_of),
    output:
        manifest="<results>/mirror/{dataset}/MANIFEST.csv",
    log:
        "<logs>/make_demo_corpus/{dataset}.log",
    benchmark:
        "<benchmarks>/make_demo_corpus/{dataset}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=parameters("make_demo_corpus"),
    script:
        "../workflow/scripts/make_demo_corpus.py"


# The tree beside .sources.json is not declared: unfinished downloads in it survive a failure and are resumed.
rule retrieve_archive:
    input:
        mirror=mirrored_files,
        code=code("retrieve_archive"),
    output:
        sources="<results>/raw/{dataset}/.sources.json",
    log:
        "<logs>/retrieve_archive/{dataset}.log",
    benchmark:
        "<benchmarks>/retrieve_archive/{dataset}.tsv"
    retries: 2
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(240),
    params:
        cfg=parameters("retrieve_archive"),
    script:
        "../workflow/scripts/retrieve_archive.py"


rule retrieve_checkpoint:
    input:
        code=code("retrieve_checkpoint"),
    output:
        sources="<results>/checkpoints/{model}/.sources.json",
    log:
        "<logs>/retrieve_checkpoint/{model}.log",
    benchmark:
        "<benchmarks>/retrieve_checkpoint/{model}.tsv"
    retries: 2
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(60),
    params:
        cfg=parameters("retrieve_checkpoint"),
    script:
        "../workflow/scripts/retrieve_checkpoint.py"


# Ask for it by name: snakemake describe_needs --configfile ...
rule describe_needs:
    input:
        code=code("describe_needs"),
    log:
        "<logs>/describe_needs.log",
    localrule: True
    conda:
        "../envs/torch.yaml"
    params:
        cfg=parameters("describe_needs"),
    script:
        "../workflow/scripts/describe_needs.py"


rule retrieve_all:
    input:
        expand("<results>/raw/{dataset}/.sources.json", dataset=plan.sources),
        expand("<results>/checkpoints/{model}/.sources.json", model=plan.checkpoint_models()),
