"""Configuration, plan and the helpers of the rule files; no rules.

Inputs: the configuration, config/{datasets,tasks,models,pretraining}.yaml and their schemas.
Outputs: `plan`, code digests under <results>/.code, helper functions.
"""

import functools
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.current_basedir).parent
SCRIPTS = ROOT / "workflow" / "scripts"
if not SCRIPTS.is_dir():
    raise WorkflowError(f"{SCRIPTS} is not here: clone respfm whole and name the Snakefile of the clone")
sys.path.insert(0, str(ROOT / "workflow"))
# Scripts find the library, and an encoder class of the user's own in the folder where Snakemake runs.
sys.path.append(os.getcwd())
os.environ.update(PYTHONPATH=os.pathsep.join([str(ROOT / "workflow"), os.getcwd(), os.getenv("PYTHONPATH", "")]))

from respfm.jobs import slurm
from respfm.jobs.code import code_digest
from respfm.config.reading import read_yaml
from respfm.config.settings import load_settings
from respfm.encoders import family_module
from respfm.errors import RespfmError
from respfm.files import canonical_json, write_text
from respfm.config.plan import LABEL_SOURCE, Plan
from respfm.retrieve.mirror import Mirror, local_copies

try:
    for path in workflow.configfiles:
        read_yaml(Path(path))  # says what Snakemake's own reader lets pass, such as a key that is there twice
    plan = Plan(load_settings(config, ROOT, ", ".join(map(str, workflow.configfiles)) or "--config"))
    for mirror in plan.config["mirror"]:
        Mirror(mirror)
except RespfmError as error:
    raise WorkflowError(str(error)) from None

RESULTS = Path(plan.config["results"])
THREADS = plan.config["resources"]["threads"]
PRETRAIN_THREADS = plan.config["resources"].get("pretrain_threads", THREADS)
MEMORY_GB = plan.config["resources"]["memory_gb"]
GPUS = plan.config["resources"]["gpus"]
DEVICE = plan.config["device"]
# What computes a result but does not decide it is handed over as a resource, which is no reason to run again.
MACHINE = canonical_json({**plan.config["machine"], "device": DEVICE, "threads": PRETRAIN_THREADS, "gpus": GPUS})

STATIC = Path(os.path.relpath(ROOT / "resources"))
PAPER = expand(str(STATIC / "paper" / "table{number}.csv"), number=range(1, 5))
STYLE = str(STATIC / "style" / "respfm.mplstyle")
REPORT_PAGE = expand(
    str(STATIC / "report" / "{file}"), file=["report.html.jinja", "report.css", "report.js", "differences.yaml"]
)
CAPTIONS = sorted(str(path) for path in (STATIC / "captions").glob("*.rst"))


def one_of(names):
    """A wildcard pattern that matches exactly `names`."""
    return "|".join(map(re.escape, names)) or "(?!)"


@functools.cache
def code(rule, *modules):
    """File of the digest of the code that `rule` runs, and named by it.

    A job that runs while the code is changed keeps the input that it started with, and is made again.
    """
    stem = ".".join([rule, *(module.rpartition(".")[2] for module in modules)])
    try:
        digest = code_digest(SCRIPTS / f"{rule}.py", modules)
        path = RESULTS / ".code" / f"{stem}.{digest[:16]}"
        if not path.is_file():
            write_text(path, f"{digest}\n")
    except RespfmError as error:
        raise WorkflowError(str(error)) from None
    return str(path)


def code_by(rule, module_of):
    """Like `code`, with the plug-in module that `module_of(wildcards)` names."""
    return lambda wildcards: code(rule, module_of(wildcards))


def parameters(rule):
    """Canonical JSON of what a job takes from the configuration, as one param."""
    return lambda wildcards: plan.parameters(rule, **dict(wildcards.items()))


def memory(gigabytes):
    """Memory in MB that doubles with each retry."""
    return lambda wildcards, attempt: int(gigabytes * 1024) * 2 ** (attempt - 1)


def minutes(count):
    """Run time in minutes that doubles with each retry."""
    return lambda wildcards, attempt: count * 2 ** (attempt - 1)


def gres(gpus):
    """GPUs on each node of a Slurm job; nothing for none."""
    return f"gpu:{gpus}" if gpus else ""


def refuse_beside_jobs():
    """Stop if an earlier Snakemake has left jobs in Slurm's queue."""
    try:
        slurm.refuse_beside_jobs(Path.cwd())
    except RespfmError as error:
        raise WorkflowError(str(error)) from None


def result(path):
    """A path below the results folder."""
    return str(RESULTS / path)


def results_of(pattern, **names):
    """All paths below the results folder that `pattern` gives for `names`."""
    return expand(result(pattern), **names)


ALL_TASKS = results_of("tasks/{protocol}/{task}.parquet", protocol=plan.protocols, task=plan.tasks)


def mirrored_files(wildcards):
    """What a local mirror holds of a data set: its archives, or the manifest of the demo corpus."""
    if wildcards.dataset in plan.config["local"]:
        return []
    if "demo_corpus" in plan.config:
        return result(f"mirror/{wildcards.dataset}/MANIFEST.csv")
    try:
        return local_copies(plan.addresses(wildcards.dataset), plan.config["mirror"])
    except RespfmError as error:
        raise WorkflowError(str(error)) from None


AUDIT = [
    *results_of("audit/{name}.csv", name=["leakage", "duplicates", "metadata_baselines"]),
    *([result("tables/comparisons.csv")] if "strict" in plan.protocols else []),
]


def demo_writer_of(wildcards):
    """The module that writes a data set of the demo corpus."""
    return f"respfm.demo.{wildcards.dataset}"


def parser_of(wildcards):
    """The module that reads a data set's layout."""
    return f"respfm.curate.{plan.settings.datasets[wildcards.dataset]['kind']}"


def recordings_of_task(wildcards):
    """The recordings table of a task's data set."""
    return result(f"recordings/{plan.settings.tasks[wildcards.task]['dataset']}.parquet")


def recordings_of_mixture(wildcards):
    """The recordings tables that a mixture draws from."""
    return results_of("recordings/{name}.parquet", name=plan.datasets_of(wildcards.mixture))


def tasks_kept_out_of_mixture(wildcards):
    """The strict task tables whose test recordings and patients a mixture leaves out."""
    return results_of("tasks/strict/{task}.parquet", task=plan.tasks_kept_out_of(wildcards.mixture))


def shard_paths(datasets):
    """Log-mel shards of `datasets`."""
    return [result(f"logmel/{name}/{shard}.h5") for name in datasets for shard in plan.shards_of(name)]


def shards_of_mixture(wildcards):
    """Log-mel shards of a mixture."""
    return shard_paths(plan.datasets_of(wildcards.mixture))


def shards_of_run(wildcards):
    """Log-mel shards of a pre-training run, background included."""
    return shard_paths(plan.datasets_of_run(wildcards.run))


def mixture_of_run(wildcards):
    """The list of recordings of a pre-training run."""
    return result(f"mixtures/{plan.settings.runs[wildcards.run]['mixture']}.parquet")


def statistics_of_run(wildcards):
    """Normalisation statistics of a run's mixture."""
    return result(f"statistics/{plan.settings.runs[wildcards.run]['mixture']}.json")


def background_of_run(wildcards):
    """List and statistics of the background noise of a run, if it has one."""
    name = plan.settings.runs[wildcards.run].get("background")
    return [result(f"mixtures/{name}.parquet"), result(f"statistics/{name}.json")] if name else []


def checkpoint_of(model):
    """The user's own checkpoint or a published one; nothing if the model has neither."""
    entry = plan.settings.models[model]
    return entry.get("file") or (result(f"checkpoints/{model}/.sources.json") if "checkpoint" in entry else [])


def weights_from(run, model):
    """The checkpoint of a run of ours or of a published model; nothing if neither is named."""
    if run:
        return result(f"pretraining/{run}/checkpoint.pth")
    return checkpoint_of(model) if model else []


def init_of_run(wildcards):
    """What a run starts from."""
    return weights_from(plan.parent_run(wildcards.run), plan.parent_model(wildcards.run))


def teacher_of_run(wildcards):
    """The offline teacher of a run."""
    return weights_from(plan.teacher_run(wildcards.run), plan.teacher_model(wildcards.run))


def weights_of_model(wildcards):
    """The weights of a model under a protocol."""
    run = plan.run_of(wildcards.model, wildcards.protocol)
    return result(f"pretraining/{run}/encoder.safetensors") if run else checkpoint_of(wildcards.model)


def waveforms_of_model(wildcards):
    """The cached waveforms of a data set at the rate that a model hears; nothing if its entry names none."""
    rate = plan.waveform_rate(wildcards.model)
    return result(f"waveforms/{wildcards.dataset}/{rate}.h5") if rate else []


def tasks_of_statistics(wildcards):
    """Strict task tables whose training recordings give the statistics that normalise a model's input."""
    return results_of("tasks/strict/{task}.parquet", task=plan.statistics_tasks(**dict(wildcards.items())))


def encoder_of(wildcards):
    """The module of a model's family."""
    return family_module(plan.settings.models[wildcards.model]["family"])


def embeddings_of_task(protocol):
    """Embeddings of the task's data set under `protocol`."""
    return lambda wildcards: result(
        f"embeddings/{protocol}/{wildcards.model}/{plan.settings.tasks[wildcards.task]['dataset']}.h5"
    )


def scores_of_table(wildcards):
    """Scores of every selected model and task; Table 1 shows none."""
    if wildcards.table == "table1":
        return []
    return scores_under(plan.protocol_of_table(wildcards.table))


def scores_under(protocol):
    """Scores of all models and tasks under one protocol."""
    return results_of(f"scores/{protocol}/{{model}}/{{task}}.csv", model=plan.models, task=plan.tasks)


def scores_of_first_protocol(wildcards):
    """Scores under the first protocol of the configuration."""
    return scores_under(plan.protocols[0])


def layer_scores(wildcards):
    """Scores of one model under the first protocol."""
    return results_of(f"scores/{plan.protocols[0]}/{wildcards.model}/{{task}}.csv", task=plan.tasks)


def tasks_of_table(wildcards):
    """Task tables under the protocol of a table."""
    return results_of(f"tasks/{plan.protocol_of_table(wildcards.table)}/{{task}}.parquet", task=plan.tasks)


def embeddings_of_map(wildcards):
    """Embeddings that are mapped for a task."""
    model = plan.config["figures"]["embedding_map"]
    dataset = plan.settings.tasks[wildcards.task]["dataset"]
    return result(f"embeddings/{plan.protocols[0]}/{model}/{dataset}.h5")


def task_of_map(wildcards):
    """The task table that colours a map."""
    return result(f"tasks/{plan.protocols[0]}/{wildcards.task}.parquet")
