"""Linear probes on frozen embeddings, under the two protocols `published` and `strict`."""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from respfm.errors import RespfmError
from respfm.probe.data import ProbeData, ProbeOptions
from respfm.probe.run import probe_task

__all__ = ["linear_probe", "probe_task"]

PROTOCOLS = ("published", "strict")


def linear_probe(
    features: np.ndarray | Mapping[str, np.ndarray],
    labels: np.ndarray,
    split: np.ndarray,
    task: str | Mapping[str, Any] | None = None,
    runs: int = 5,
    protocol: str = "published",
    layers: list[str] | None = None,
    patients: np.ndarray | None = None,
    seed: int = 0,
    order: np.ndarray | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> pd.DataFrame:
    """Train and test linear classifiers on every layer of a model.

    `features` is `[N, D]`, `[L, N, D]` or a mapping from layer name to `[N, D]`; `labels` are integers from 0,
    `split` holds "train", "val" or "test" for each of the N recordings, `patients` their patient ids ("" is
    unknown). `order` is the position inside the split and decides the exact batches of the published protocol.
    `task` is a name from config/tasks.yaml, such as T5 to T11, or a mapping with `batch`, `epochs`, `candidates` and
    `l2`.

    `published` trains `runs` heads per layer with the seeds `seed`, `seed + 1`, ... as OPERA's linear evaluation
    does, with its order of random numbers. `strict` solves one regularised logistic regression per layer; `runs`,
    `order` and the recipe of the task do not affect it.

    Several layers are worked on at a time, in `threads` threads (by default as many as PyTorch uses); the number does
    not change the result.

    Returns one row per layer and run; `auroc_val` and `auroc_test` are macro one-vs-rest AUROCs in 0 to 1. Raises
    `RespfmError` if the input cannot be probed.
    """
    if protocol not in PROTOCOLS:
        raise RespfmError(f"protocol {protocol!r} is not known; it is {' or '.join(map(repr, PROTOCOLS))}")
    data = ProbeData.build(features, labels, split, task, layers, patients, order)
    # By name, so that the code of one protocol is no part of the other's.
    probe = importlib.import_module(f"respfm.probe.{protocol}").probe
    return probe(data, ProbeOptions(runs, seed, device, threads))[0]
