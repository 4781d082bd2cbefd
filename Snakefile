"""respfm: from the publishers' archives to every table and figure of the paper.

Paper: Niizumi et al., "Towards Pre-training an Effective Respiratory Audio Foundation Model", Interspeech 2025.
Without --configfile this runs the embedded demo (config/config.yaml).
"""

from snakemake.utils import min_version

min_version("9.12.0")

if "data_kind" not in config:

    configfile: "config/config.yaml"


report: "resources/captions/workflow.rst"


include: "rules/common.smk"


from respfm.jobs import slurm


pathvars:
    results=plan.config["results"],
    logs=f"{plan.config['results']}/logs",
    benchmarks=f"{plan.config['results']}/benchmarks",


wildcard_constraints:
    protocol="published|strict",
    dataset=one_of(plan.sources),
    shard=r"\d{3,5}",
    rate=r"\d+",
    mixture=one_of(plan.mixtures),
    run=one_of(plan.runs),
    model=one_of([*plan.models, *plan.checkpoint_models()]),
    task=one_of(plan.settings.tasks),
    table=one_of(plan.tables),


onstart:
    with plain_errors():
        slurm.refuse_beside_jobs(Path.cwd())


include: "rules/retrieve.smk"
include: "rules/curate.smk"
include: "rules/audit.smk"
include: "rules/logmel.smk"
include: "rules/pretrain.smk"
include: "rules/embed.smk"
include: "rules/probe.smk"
include: "rules/report.smk"


# Every expensive intermediate is named, so that a failed rerun upstream can never leave a stale figure behind.
rule all:
    default_target: True
    input:
        rules.retrieve_all.input,
        rules.curate_all.input,
        rules.audit_all.input,
        rules.pretrain_all.input,
        rules.embed_all.input,
        rules.probe_all.input,
        rules.report_all.input,
