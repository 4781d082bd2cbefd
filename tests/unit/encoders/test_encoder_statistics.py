"""Statistics that normalise spectrograms: those of the paper's plugin, and those of the strict protocol."""

import math

import numpy as np
import pytest
import torch
from respfm.config import parameters
from respfm.config.plan import Plan
from respfm.config.reading import merge, read_yaml
from respfm.config.settings import load_settings
from respfm.encoders.frontends import fit_statistics, mean_and_std, plugin_mean_and_std
from workspace import REPOSITORY


def batches_of(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [3 * torch.randn(size, 4, 5, generator=generator) + 10 * i for i, size in enumerate(sizes)]


def running(batches):
    """The plugin's update rule step by step: the count starts at zero and is raised after each batch."""
    mean = square = None
    for count, batch in enumerate(batches):
        value = batch.mean().item()
        mean = value if count == 0 else mean + (value - mean) / count
        value = ((batch - mean) ** 2).mean().item()
        square = value if count == 0 else square + (value - square) / count
    return mean, math.sqrt(square)


@pytest.mark.parametrize("sizes", [(6,), (6, 6), (6, 6, 6, 1), (2, 2, 2, 2, 2)])
def test_statistics_of_the_plugin(sizes):
    batches = batches_of(*sizes)
    assert plugin_mean_and_std(batches) == pytest.approx(running(batches), rel=1e-6)


def test_plugin_loses_its_first_batch_and_weighs_batches_alike():
    batches = batches_of(6, 6, 1)
    mean = (batches[1].mean() + batches[2].mean()).item() / 2
    assert plugin_mean_and_std(batches)[0] == pytest.approx(mean, rel=1e-6)
    exact = mean_and_std(batches)
    assert exact == pytest.approx(
        (torch.cat(batches).mean().item(), torch.cat(batches).std(correction=0).item()), rel=1e-6
    )
    assert abs(exact[0] - mean) > 1


def test_plugin_stops_after_five_thousand_clips():
    batches = batches_of(3, 3, 3)
    assert plugin_mean_and_std(batches, most=6) == plugin_mean_and_std(batches[:2])


def test_padding_does_not_count_in_strict_statistics():
    clips = [torch.arange(3.0), torch.arange(5.0) + 7]
    padded = torch.stack([torch.nn.functional.pad(clip, (0, 6 - len(clip)), value=99.0) for clip in clips])
    found = fit_statistics([(padded, torch.tensor([3, 5]))], lambda waveforms: waveforms, plugin=False)
    assert found == pytest.approx((np.concatenate(clips).mean(), np.concatenate(clips).std()))


def test_only_models_that_ask_for_it_are_normalised_by_training_recordings():
    config = merge(read_yaml(REPOSITORY / "config" / "config.yaml"), {"models": ["byola", "ast", "msm_mae"]})
    plan = Plan(load_settings(merge(config, {"figures": {"layers": [], "embedding_map": ""}}), REPOSITORY, "my.yaml"))
    assert plan.statistics_tasks("byola", "strict", "coughvid") == ["T5", "T6"]
    assert plan.statistics_tasks("byola", "published", "coughvid") == []
    assert plan.statistics_tasks("ast", "strict", "coughvid") == []
    assert "data_statistics" not in parameters.extract_embeddings(plan, "strict", "msm_mae", "kauh")["options"]
