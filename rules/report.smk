"""Every table and figure of the paper beside the published numbers, and the report.

Inputs: scores, task tables, audit, training histories; resources/paper/*.csv with the paper's own numbers.
Outputs: <results>/tables/<table>.{csv,md,tex}, figures/<figure>.{pdf,svg,png,csv}, report.html.
Steps: make_table, plot_* (one rule per kind of figure), write_report.
"""


rule make_table:
    input:
        scores=scores_of_table,
        tasks=tasks_of_table,
        metadata_baselines="<results>/audit/metadata_baselines.csv",
        paper=PAPER,
        code=code("make_table"),
    output:
        csv="<results>/tables/{table}.csv",
        md=report("<results>/tables/{table}.md", caption="../resources/captions/tables.rst", category="Tables"),
        tex="<results>/tables/{table}.tex",
    log:
        "<logs>/make_table/{table}.log",
    benchmark:
        "<benchmarks>/make_table/{table}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=parameters("make_table"),
    script:
        "../workflow/scripts/make_table.py"


# Paired bootstrap of every model against one reference, under the strict protocol.
rule compare_models:
    input:
        scores=scores_under("strict"),
        predictions=results_of(
            "scores/strict/{model}/{task}.predictions.parquet",
            model=plan.models,
            task=plan.tasks,
        ),
        tasks=results_of("tasks/strict/{task}.parquet", task=plan.tasks),
        paper=PAPER,
        code=code("compare_models"),
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
        cfg=parameters("compare_models"),
    script:
        "../workflow/scripts/compare_models.py"


rule plot_layers:
    input:
        scores=layer_scores,
        paper=PAPER,
        style=STYLE,
        code=code("plot_layers"),
    output:
        svg=report(
            "<results>/figures/layers_{model}.svg",
            caption="../resources/captions/layers.rst",
            category="Figures",
        ),
        others=multiext("<results>/figures/layers_{model}", ".pdf", ".png", ".csv"),
    log:
        "<logs>/plot_layers/{model}.log",
    benchmark:
        "<benchmarks>/plot_layers/{model}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=parameters("plot_layers"),
    script:
        "../workflow/scripts/plot_layers.py"


rule plot_data_scale:
    input:
        scores=scores_of_first_protocol,
        paper=PAPER,
        style=STYLE,
        code=code("plot_data_scale"),
    output:
        svg=report(
            "<results>/figures/data_scale.svg",
            caption="../resources/captions/data_scale.rst",
            category="Figures",
        ),
        others=multiext("<results>/figures/data_scale", ".pdf", ".png", ".csv"),
    log:
        "<logs>/plot_data_scale.log",
    benchmark:
        "<benchmarks>/plot_data_scale.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=parameters("plot_data_scale"),
    script:
        "../workflow/scripts/plot_data_scale.py"


rule plot_agreement:
    input:
        scores=scores_of_first_protocol,
        paper=PAPER,
        style=STYLE,
        code=code("plot_agreement"),
    output:
        svg=report(
            "<results>/figures/agreement.svg",
            caption="../resources/captions/agreement.rst",
            category="Figures",
        ),
        others=multiext("<results>/figures/agreement", ".pdf", ".png", ".csv"),
    log:
        "<logs>/plot_agreement.log",
    benchmark:
        "<benchmarks>/plot_agreement.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=parameters("plot_agreement"),
    script:
        "../workflow/scripts/plot_agreement.py"


rule plot_audit:
    input:
        leakage="<results>/audit/leakage.csv",
        metadata_baselines="<results>/audit/metadata_baselines.csv",
        scores=scores_of_first_protocol,
        style=STYLE,
        code=code("plot_audit"),
    output:
        svg=report(
            "<results>/figures/audit.svg",
            caption="../resources/captions/audit.rst",
            category="Figures",
        ),
        others=multiext("<results>/figures/audit", ".pdf", ".png", ".csv"),
    log:
        "<logs>/plot_audit.log",
    benchmark:
        "<benchmarks>/plot_audit.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=parameters("plot_audit"),
    script:
        "../workflow/scripts/plot_audit.py"


rule plot_curves:
    input:
        histories=results_of("pretraining/{run}/history.csv", run=plan.runs),
        style=STYLE,
        code=code("plot_curves"),
    output:
        svg=report(
            "<results>/figures/curves.svg",
            caption="../resources/captions/curves.rst",
            category="Figures",
        ),
        others=multiext("<results>/figures/curves", ".pdf", ".png", ".csv"),
    log:
        "<logs>/plot_curves.log",
    benchmark:
        "<benchmarks>/plot_curves.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=parameters("plot_curves"),
    script:
        "../workflow/scripts/plot_curves.py"


rule plot_embedding_map:
    input:
        embeddings=embeddings_of_map,
        task=task_of_map,
        style=STYLE,
        code=code("plot_embedding_map"),
    output:
        svg=report(
            "<results>/figures/embedding_map_{task}.svg",
            caption="../resources/captions/embedding_map.rst",
            category="Figures",
        ),
        others=multiext("<results>/figures/embedding_map_{task}", ".pdf", ".png", ".csv"),
    log:
        "<logs>/plot_embedding_map/{task}.log",
    benchmark:
        "<benchmarks>/plot_embedding_map/{task}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(2),
        runtime=minutes(20),
    params:
        cfg=parameters("plot_embedding_map"),
    script:
        "../workflow/scripts/plot_embedding_map.py"


rule write_report:
    input:
        tables=expand("<results>/tables/{table}.csv", table=plan.tables),
        figures=expand("<results>/figures/{figure}.svg", figure=plan.figures),
        audit=AUDIT,
        page=REPORT_PAGE,
        captions=CAPTIONS,
        code=code("write_report"),
    output:
        page="<results>/report.html",
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=memory(1),
        runtime=minutes(10),
    params:
        cfg=parameters("write_report"),
    script:
        "../workflow/scripts/write_report.py"


rule report_all:
    input:
        expand("<results>/tables/{table}.{suffix}", table=plan.tables, suffix=["csv", "md", "tex"]),
        expand("<results>/figures/{figure}.svg", figure=plan.figures),
        AUDIT,
        "<results>/report.html",
