"""Schedules and operation counts of pre-training."""

import json
from pathlib import Path

import pytest
from respfm.pretrain import schedule
from respfm.pretrain.settings import Recipe

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "m2d" / "schedule.json").read_text())


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
