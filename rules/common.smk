"""Configuration, plan, and the helpers that several rule files share; no rules.

Inputs: the configuration, config/{datasets,tasks,models,pretraining}.yaml and their schemas.
Outputs: `plan`, which says what is needed, and helper functions.
"""

import contextlib
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

from respfm.config import parameters
from respfm.config.plan import Plan
from respfm.config.reading import read_yaml
from respfm.config.settings import load_settings
from respfm.errors import RespfmError
from respfm.files import canonical_json
from respfm.jobs.code import code_digest


@contextlib.contextmanager
def plain_errors():
    """Let Snakemake show a mistake of the user's as one sentence."""
    try:
        yield
    except RespfmError as error:
        raise WorkflowError(str(error)) from None


with plain_errors():
    for path in workflow.configfiles:
        read_yaml(Path(path))  # says what Snakemake's own reader lets pass, such as a duplicate key
    plan = Plan(load_settings(config, ROOT, ", ".join(map(str, workflow.configfiles)) or "--config"))

THREADS = plan.config["resources"]["threads"]
MEMORY_GB = plan.config["resources"]["memory_gb"]
GPUS = plan.config["resources"]["gpus"]
DEVICE = plan.config["device"]


def one_of(names):
    """A wildcard pattern that matches exactly `names`."""
    return "|".join(map(re.escape, names)) or "(?!)"


def as_json(takes):
    """What the function `takes` says that a job takes from the configuration, as one param: canonical JSON."""
    return lambda wildcards: canonical_json(takes(plan, **dict(wildcards.items())))


def code(rule, **plug_ins):
    """Digest of the code that a job of `rule` runs, as a param.

    `dataset={name: module}` adds the module that the script loads by name for that value of the wildcard. All digests
    are taken here, so that a job records the code that was there when it started, even if that is edited meanwhile.
    """
    script = SCRIPTS / f"{rule}.py"
    with plain_errors():
        if not plug_ins:
            return code_digest(script)
        [(wildcard, modules)] = plug_ins.items()
        digests = {module: code_digest(script, [module]) for module in set(modules.values())}
    return lambda wildcards: digests[modules[wildcards.get(wildcard)]]


def memory(gigabytes):
    """Memory in MB that doubles with each retry."""
    return lambda wildcards, attempt: int(gigabytes * 1024) * 2 ** (attempt - 1)


def minutes(count):
    """Run time in minutes that doubles with each retry."""
    return lambda wildcards, attempt: count * 2 ** (attempt - 1)


def gres(gpus):
    """GPUs on each node of a Slurm job; nothing for none."""
    return f"gpu:{gpus}" if gpus else ""


def shards_of(datasets):
    """Log-mel shards of `datasets`."""
    return [f"<results>/logmel/{name}/{shard}.h5" for name in datasets for shard in plan.shards_of(name)]


def checkpoint_of(model):
    """The user's own checkpoint or a published one; nothing if the model has neither."""
    entry = plan.settings.models[model]
    return entry.get("file") or (f"<results>/checkpoints/{model}/.sources.json" if "checkpoint" in entry else [])
