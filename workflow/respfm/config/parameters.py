"""What each rule takes from the configuration: one function a rule, named as it, whose arguments are its wildcards.

A job runs again when the value of its function changes, so each holds exactly what the job needs.
"""

from typing import Any

from respfm.config.plan import Plan

LEARNING = ("batch", "epochs", "candidates")
DESCRIBING = ("title", "note", "citation")


def make_demo_corpus(plan: Plan, dataset: str) -> dict[str, Any]:
    """Files of the data set, scale and seed of the corpus."""
    return {**plan.config["demo_corpus"], "files": plan.settings.datasets[dataset]["files"]}


def retrieve_archive(plan: Plan, dataset: str) -> dict[str, Any]:
    """Files of the data set, and where to look for them; first the demo corpus, if there is one."""
    entry, config = plan.settings.datasets[dataset], plan.config
    made = {"path": f"{config['results']}/mirror/{dataset}", "checksums": "MANIFEST.csv"}
    return {
        "entry": {key: entry[key] for key in ("how", "files") if key in entry},
        "local": config["local"].get(dataset),
        "mirror": [made, *config["mirror"]] if "demo_corpus" in config else config["mirror"],
        **{key: config[key] for key in ("offline", "allow_partial", "downloads")},
    }


def retrieve_checkpoint(plan: Plan, model: str) -> dict[str, Any]:
    """The file of the checkpoint, and where to look for it."""
    entry = plan.settings.models[model]
    shared = {key: plan.config[key] for key in ("mirror", "offline", "downloads")}
    return {"title": entry["title"], "checkpoint": entry["checkpoint"], **shared}


def curate_recordings(plan: Plan, dataset: str) -> dict[str, Any]:
    """Parser of the data set with its options, and the counts that are expected."""
    entry = plan.settings.datasets[dataset]
    return {
        **{key: entry[key] for key in ("kind", "options", "expected")},
        **{key: plan.config[key] for key in ("allow_partial", "max_quarantine_share")},
    }


def build_task(plan: Plan, protocol: str, task: str) -> dict[str, Any]:
    """Definition of the task, without how it is learned."""
    entry = plan.settings.tasks[task]
    return {
        "task": {key: value for key, value in entry.items() if key not in (*LEARNING, *DESCRIBING)},
        **{key: plan.config[key] for key in ("seed", "allow_partial")},
    }


def build_mixture(plan: Plan, mixture: str) -> dict[str, Any]:
    """Definition of the mixture."""
    return {
        "mixture": _without_descriptions(plan.settings.mixtures[mixture]),
        "allow_partial": plan.config["allow_partial"],
    }


def cache_logmel(plan: Plan, dataset: str, shard: str) -> dict[str, Any]:
    """The front-end, how it is stored, and which of how many shards."""
    options = dict(plan.config["logmel"])
    storage = {key: options.pop(key) for key in ("dtype", "min_seconds")}
    return {
        "definition": options,
        **storage,
        "shard": int(shard),
        "shards": plan.settings.datasets[dataset]["shards"],
        "max_quarantine_share": plan.config["max_quarantine_share"],
    }


def pretrain_encoder(plan: Plan, run: str) -> dict[str, Any]:
    """Definition of the run."""
    return _without_descriptions(plan.settings.runs[run])


def cache_waveforms(plan: Plan, dataset: str, rate: str) -> dict[str, Any]:
    """Which recordings of the data set, at which sample rate."""
    return {"dataset": dataset, "pool": plan.settings.datasets[dataset]["pool"], "sample_rate": int(rate)}


def extract_embeddings(plan: Plan, protocol: str, model: str, dataset: str) -> dict[str, Any]:
    """The encoder with its options under the protocol, and how recordings are passed through it."""
    resolved, embed, published = plan.model(model, protocol, dataset), plan.config["embed"], protocol == "published"
    return {
        "family": resolved.family,
        "options": resolved.options,
        "weights": plan.settings.models[model]["weights"],
        "dataset": dataset,
        "pool": plan.settings.datasets[dataset]["pool"],
        "protocol": protocol,
        "model": model,
        # Strict embeddings draw nothing, so another seed is no reason to make them again.
        "seed": plan.config["seed"] if published else 0,
        "batch_size": resolved.batch_size or embed["batch_size"],
        "precision": "fp32" if published else embed["precision"],
    }


def probe_published(plan: Plan, model: str, task: str) -> dict[str, Any]:
    """How the published probe learns the task."""
    entry, options = plan.settings.tasks[task], plan.config["probe"]
    training = {key: entry[key] for key in LEARNING}
    training["epochs"] = options.get("epochs", training["epochs"])
    return {
        "training": training,
        "runs": options["runs"],
        "seed": plan.config["seed"],
        "default_layer": plan.default_layer(model, "published"),
    }


def probe_strict(plan: Plan, model: str, task: str) -> dict[str, Any]:
    """The seed, and the layer that tables show."""
    return {"seed": plan.config["seed"], "default_layer": plan.default_layer(model, "strict")}


def make_table(plan: Plan, table: str) -> dict[str, Any]:
    """Number and protocol of the table, its tasks and models."""
    number = int(table.removeprefix("table")[0])
    return {"number": number, "protocol": plan.protocol_of_table(table), "tasks": plan.tasks, **shown_models(plan)}


def compare_models(plan: Plan) -> dict[str, Any]:
    """Tasks and models, and the seed of the bootstrap."""
    return {"tasks": plan.tasks, "seed": plan.config["seed"], **shown_models(plan)}


def any_figure(plan: Plan) -> dict[str, Any]:
    """What every figure takes: the kind of the data, which it shows."""
    return {"data_kind": plan.config["data_kind"]}


def shown_models(plan: Plan) -> dict[str, Any]:
    """What tables and figures of results take: all models described, and which of them are selected."""
    return {"models": plan.described_models(), "selected": plan.models, **any_figure(plan)}


def layers_figure(plan: Plan, model: str) -> dict[str, Any]:
    """The model."""
    return {"model": model, "models": {model: plan.described_models()[model]}, **any_figure(plan)}


def audit_figure(plan: Plan) -> dict[str, Any]:
    """The models, and the mixtures that they were pre-trained on."""
    return {"mixtures": {protocol: plan.mixtures_under(protocol) for protocol in plan.protocols}, **shown_models(plan)}


def curves_figure(plan: Plan) -> dict[str, Any]:
    """The runs."""
    return {"runs": plan.runs, **any_figure(plan)}


def embedding_map_figure(plan: Plan, task: str) -> dict[str, Any]:
    """The model, with the layer that tables show under the first protocol, and the seed of the projection."""
    model = plan.config["figures"]["embedding_map"]
    described = plan.described_models()[model] | {"default_layer": plan.default_layer(model, plan.protocols[0])}
    return {"task": task, "model": model, "models": {model: described}, "seed": plan.config["seed"], **any_figure(plan)}


def write_report(plan: Plan) -> dict[str, Any]:
    """The whole configuration, which the report shows."""
    return {"config": plan.config, **shown_models(plan)}


def _without_descriptions(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in DESCRIBING}
