"""Archives verified and unpacked.

Inputs: the publishers' hosts or a mirror; for the demo, a synthetic corpus made in the publishers' formats.
Outputs: <results>/raw/<dataset>/.sources.json beside the unpacked files; <results>/checkpoints/<model>/.sources.json.
Steps: make_demo_corpus (demo only), retrieve_archive, retrieve_checkpoint. `respfm plan` lists what is needed.
"""

from respfm.retrieve.mirror import Mirror, local_copies
from respfm.retrieve.registry import pieces_of

IN_DEMO = [name for name in plan.sources if "demo_corpus" in plan.config and name not in plan.config["local"]]

with plain_errors():
    for mirror in plan.config["mirror"]:
        Mirror(mirror)


def mirrored_files(wildcards):
    """What a local mirror holds of a data set: its archives, or the manifest of the demo corpus."""
    if wildcards.dataset in IN_DEMO:
        return "<results>/mirror/{dataset}/MANIFEST.csv"
    if wildcards.dataset in plan.config["local"]:
        return []
    files = plan.settings.datasets[wildcards.dataset]["files"]
    with plain_errors():
        return local_copies(
            [piece.urls[0] for file in files for piece in pieces_of(file)],
            plan.config["mirror"],
        )


# One data set of the synthetic corpus, in its publisher's format.
rule make_demo_corpus:
    output:
        manifest="<results>/mirror/{dataset}/MANIFEST.csv",
    log:
        "<logs>/make_demo_corpus/{dataset}.log",
    benchmark:
        "<benchmarks>/make_demo_corpus/{dataset}.tsv"
    localrule: True
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=as_json(parameters.make_demo_corpus),
        code=code("make_demo_corpus", dataset={name: f"respfm.demo.{name}" for name in IN_DEMO}),
    script:
        "../workflow/scripts/make_demo_corpus.py"


# The tree beside .sources.json is not declared: unfinished downloads in it survive a failure and are resumed.
rule retrieve_archive:
    input:
        mirror=mirrored_files,
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
        cfg=as_json(parameters.retrieve_archive),
        code=code("retrieve_archive"),
    script:
        "../workflow/scripts/retrieve_archive.py"


rule retrieve_checkpoint:
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
        cfg=as_json(parameters.retrieve_checkpoint),
        code=code("retrieve_checkpoint"),
    script:
        "../workflow/scripts/retrieve_checkpoint.py"


rule retrieve_all:
    input:
        expand("<results>/raw/{dataset}/.sources.json", dataset=plan.sources),
        expand("<results>/checkpoints/{model}/.sources.json", model=plan.checkpoint_models()),
