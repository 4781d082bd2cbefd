"""Every table and figure of the paper beside the published numbers, and the report.

Inputs: scores, task tables, audit, training histories; resources/paper/*.csv with the paper's own numbers.
Outputs: <results>/tables/<table>.{csv,md,tex}, figures/<figure>.{pdf,svg,png,csv}, report.html.
Steps: make_table, compare_models, plot_figure, write_report.
"""

from types import SimpleNamespace

STATIC = Path(os.path.relpath(ROOT / "resources"))
PAPER = expand(str(STATIC / "paper" / "table{number}.csv"), number=range(1, 5))
FIRST = plan.protocols[0]
COMPARISONS = ["<results>/tables/comparisons.csv"] if "strict" in plan.protocols else []
FIGURES = {}


def scores_under(protocol, models=plan.models):
    """Scores of `models` and all tasks under one protocol."""
    return expand(f"<results>/scores/{protocol}/{{model}}/{{task}}.csv", model=models, task=plan.tasks)


def scores_of_table(wildcards):
    """Scores of every model and task under the protocol of a table; Table 1 shows none."""
    return [] if wildcards.table == "table1" else scores_under(plan.protocol_of_table(wildcards.table))


def tasks_of_table(wildcards):
    """Task tables under the protocol of a table."""
    return expand(f"<results>/tasks/{plan.protocol_of_table(wildcards.table)}/{{task}}.parquet", task=plan.tasks)


def figure(kind, takes, *of, **reads):
    """Have respfm.report.figures.<kind> draw a figure of the files `reads`, with the caption of that name.

    `of` ends the name of the figure and is handed to `takes`, which says what it takes from the configuration.
    """
    FIGURES["_".join([kind, *of])] = SimpleNamespace(kind=kind, takes={"kind": kind, **takes(plan, *of)}, reads=reads)


# The figures in the order of the report.
for model in plan.config["figures"]["layers"]:
    figure("layers", parameters.layers_figure, model, scores=scores_under(FIRST, [model]), printed=PAPER)
figure("data_scale", parameters.shown_models, scores=scores_under(FIRST), printed=PAPER)
figure("agreement", parameters.shown_models, scores=scores_under(FIRST), printed=PAPER)
figure(
    "audit",
    parameters.audit_figure,
    scores=scores_under(FIRST),
    leakage="<results>/audit/leakage.csv",
    metadata_baselines="<results>/audit/metadata_baselines.csv",
)
if plan.runs:
    figure(
        "curves", parameters.curves_figure, histories=expand("<results>/pretraining/{run}/history.csv", run=plan.runs)
    )
if model := plan.config["figures"]["embedding_map"]:
    for task in plan.tasks:
        figure(
            "embedding_map",
            parameters.embedding_map_figure,
            task,
            embeddings=f"<results>/embeddings/{FIRST}/{model}/{plan.settings.tasks[task]['dataset']}.h5",
            labels=f"<results>/tasks/{FIRST}/{task}.parquet",
        )


# A table of the paper, reproduced beside published.
rule make_table:
    input:
        scores=scores_of_table,
        tasks=tasks_of_table,
        metadata_baselines="<results>/audit/metadata_baselines.csv",
        paper=PAPER,
    output:
        csv="<results>/tables/{table}.csv",
        md=report("<results>/tables/{table}.md", caption="../resources/captions/tables.rst", category="Tables"),
        tex="<results>/tables/{table}.tex",
    log:
        "<logs>/make_table/{table}.log",
    benchmark:
        "<benchmarks>/make_table/{table}.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=as_json(parameters.make_table),
        code=code("make_table"),
    script:
        "../workflow/scripts/make_table.py"


# Paired bootstrap of every model against one reference, under the strict protocol.
rule compare_models:
    input:
        scores=scores_under("strict"),
        predictions=expand(
            "<results>/scores/strict/{model}/{task}.predictions.parquet",
            model=plan.models,
            task=plan.tasks,
        ),
        tasks=expand("<results>/tasks/strict/{task}.parquet", task=plan.tasks),
        paper=PAPER,
    output:
        csv="<results>/tables/comparisons.csv",
        md=report("<results>/tables/comparisons.md", caption="../resources/captions/comparisons.rst", category="Tables"),
    log:
        "<logs>/compare_models.log",
    benchmark:
        "<benchmarks>/compare_models.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(2),
        runtime=minutes(60),
    params:
        cfg=as_json(parameters.compare_models),
        code=code("compare_models"),
    script:
        "../workflow/scripts/compare_models.py"


# Any figure; its module is loaded by name.
rule plot_figure:
    input:
        unpack(lambda wildcards: FIGURES[wildcards.figure].reads),
        style=str(STATIC / "style" / "respfm.mplstyle"),
    output:
        svg=report("<results>/figures/{figure}.svg", caption="../resources/captions/figure.rst", category="Figures"),
        others=multiext("<results>/figures/{figure}", ".pdf", ".png", ".csv"),
    log:
        "<logs>/plot_figure/{figure}.log",
    benchmark:
        "<benchmarks>/plot_figure/{figure}.tsv"
    wildcard_constraints:
        figure=one_of(FIGURES),
    localrule: True
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(2),
        runtime=minutes(20),
    params:
        cfg=as_json(lambda plan, figure: FIGURES[figure].takes),
        code=code("plot_figure", figure={name: f"respfm.report.figures.{one.kind}" for name, one in FIGURES.items()}),
        # For Snakemake's own report, which knows one caption file per rule: figure.rst shows this one.
        caption=lambda wildcards: STATIC / "captions" / f"{FIGURES[wildcards.figure].kind}.rst",
    script:
        "../workflow/scripts/plot_figure.py"


rule write_report:
    input:
        tables=expand("<results>/tables/{table}.csv", table=plan.tables),
        figures=expand("<results>/figures/{figure}.svg", figure=FIGURES),
        audit=[*rules.audit_all.input, *COMPARISONS],
        template=str(STATIC / "report" / "report.html.jinja"),
        beside=expand(str(STATIC / "report" / "{file}"), file=["report.css", "report.js", "differences.yaml"]),
        captions=sorted(map(str, (STATIC / "captions").glob("*.rst"))),
    output:
        page="<results>/report.html",
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    localrule: True
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=as_json(parameters.write_report),
        code=code("write_report"),
        benchmarks=f"{plan.config['results']}/benchmarks",
        repository=os.path.relpath(ROOT),
    script:
        "../workflow/scripts/write_report.py"


rule report_all:
    input:
        expand("<results>/tables/{table}.{suffix}", table=plan.tables, suffix=["csv", "md", "tex"]),
        expand("<results>/figures/{figure}.svg", figure=FIGURES),
        COMPARISONS,
        "<results>/report.html",
