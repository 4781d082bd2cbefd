"""Schedules and operation counts of pre-training."""

import json
from pathlib import Path

import pytest
import torch
from respfm.m2d import M2D, M2DConfig
from respfm.pretrain import schedule
from respfm.pretrain.flops import sample_flops
from respfm.pretrain.settings import Recipe
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

GOLDEN = json.loads((Path(__file__).parent / "golden" / "m2d" / "schedule.json").read_text())


@pytest.mark.parametrize("name", GOLDEN)
def test_schedules_equal_the_reference(name):
    golden = GOLDEN[name]
    recipe = Recipe(
        epochs=golden["epochs"],
        batch_size=golden["eff_batch"],
        base_lr=golden["blr"],
        warmup_epochs=golden["warmup_epochs"],
    )
    per_epoch = schedule.steps_per_epoch(golden["n_items"], recipe.batch_size)
    peak = schedule.peak_lr(recipe.base_lr, recipe.batch_size)
    total = per_epoch * recipe.epochs
    assert (per_epoch, total) == (golden["steps_per_epoch"], golden["total_steps"])
    assert peak == pytest.approx(golden["peak_lr"], rel=1e-12)
    for row in golden["rows"]:
        step = row["global_step"]
        lr = schedule.lr_at(step, per_epoch, recipe.epochs, recipe.warmup_epochs, peak)
        assert lr == pytest.approx(row["lr"], rel=1e-12, abs=0)
        assert schedule.tau_at(step, total, *recipe.ema) == pytest.approx(row["ema"], rel=1e-12)


SMALL = {"dim": 64, "depth": 3, "heads": 4, "decoder_dim": 32, "decoder_depth": 2, "decoder_heads": 4}


@pytest.mark.parametrize("objective", ["m2d", "m2d_x", "msm_mae"])
def test_operations_are_those_that_torch_counts(objective):
    config = M2DConfig(input_size=(80, 208), patch_size=(16, 16), objective=objective, **SMALL)
    model = M2D(config)
    teacher = M2D(config).requires_grad_(False) if objective == "m2d_x" else None
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.loss(torch.randn(3, 1, 80, 208), teacher=teacher)["loss"].backward()
    assert counter.get_total_flops() == 3 * sample_flops(config)


def test_operations_of_the_published_size():
    assert sample_flops(M2DConfig()) == 83_634_481_152
