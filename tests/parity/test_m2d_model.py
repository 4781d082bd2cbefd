"""M2D, M2D-X and MSM-MAE against the numbers of the reference implementation."""

import json

import numpy as np
import pytest
import torch
from formulas import lms_batch, mask_noise
from m2d_golden import CONFIGS, GOLDEN, arrays, encoder, key_list, pretrainer
from respfm.errors import RespfmError
from respfm.m2d import M2D, M2DConfig, losses
from respfm.m2d.encoder import M2DEncoder
from respfm.m2d.mixing import mix_background
from respfm.m2d.positions import fit_columns, sincos_positions
from respfm.pretrain.flops import sample_flops
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

NUMBERS = json.loads((GOLDEN / "pretrain_seed0.json").read_text())
SMALL = {"dim": 32, "depth": 2, "heads": 2, "decoder_dim": 16, "decoder_depth": 2, "decoder_heads": 2}


def batch(name="lms_batch", shape=(2, 1, 80, 608)) -> torch.Tensor:
    return torch.from_numpy(lms_batch("0", name, shape))


def noise(name="mask_noise", patches=190) -> torch.Tensor:
    return torch.from_numpy(mask_noise("0", name, 2, patches))


def gradient_norms(model: M2D, names) -> dict[str, float]:
    parameters = dict(model.named_parameters())
    return {name: parameters[name].grad.double().norm().item() for name in names}


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_of_the_reference(name):
    with torch.device("meta"):
        model = M2D(M2DConfig(**CONFIGS[name]))
    golden = key_list(name)
    ours = [(key, list(value.shape)) for key, value in model.state_dict().items()]
    assert ours == [(entry["key"], entry["shape"]) for entry in golden["entries"]]
    decay = {
        id(parameter): group["weight_decay"] for group in model.param_groups(0.05) for parameter in group["params"]
    }
    ours = {key: decay.get(id(parameter)) for key, parameter in model.named_parameters()}
    assert ours == {entry["key"]: entry["weight_decay"] for entry in golden["entries"]}
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == golden["n_trainable"]


@pytest.fixture(scope="module")
def m2d() -> M2D:
    return pretrainer()


def test_m2d_loss_and_gradients(m2d):
    m2d.zero_grad()
    result = m2d.loss(batch(), mask_noise=noise())
    assert result["loss"].item() == pytest.approx(NUMBERS["m2d_loss"], rel=1e-5)
    assert result["online"].item() == result["loss"].item()
    assert result["offline"].item() == 0
    result["loss"].backward()
    golden = NUMBERS["m2d_grad_norms"]
    assert gradient_norms(m2d, golden) == pytest.approx(golden, rel=1e-4)
    total = torch.nn.utils.get_total_norm([p.grad for p in m2d.parameters() if p.grad is not None])
    assert total.item() == pytest.approx(NUMBERS["m2d_total_grad_norm"], rel=2e-4)
    sample = m2d.blocks[0].attn.qkv.weight.grad[0, :4].tolist()
    golden = NUMBERS["m2d_grad_sample_blocks.0.attn.qkv.weight[0,:4]"]
    assert sample == pytest.approx(golden, rel=0, abs=1e-8)


@torch.no_grad()
def test_m2d_mask_tokens_and_other_losses(m2d):
    golden = arrays("pretrain_seed0")
    result = m2d.predict(batch(), noise())
    assert result.order[:, :57].tolist() == golden["ids_keep"].tolist()
    mask = torch.ones(2, 190).scatter(1, result.order[:, :57], 0)
    assert mask.tolist() == golden["mask"].tolist()
    masked = result.prediction[:, [0, 66, 132], ::32], result.target[:, [0, 66, 132], ::32]
    np.testing.assert_allclose(result.latent[:, [0, 1, 57], ::32], golden["latent"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(masked[0], golden["pred"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(masked[1], golden["target"], rtol=0, atol=1e-4)
    plain = losses.cosine_loss(result.prediction, result.target).item()
    assert plain == pytest.approx(NUMBERS["m2d_loss_plain_norm_mse"], rel=1e-5)
    squared = (result.prediction - losses.standardise(result.target)).square().mean().item()
    assert squared == pytest.approx(NUMBERS["m2d_loss_mse_standardised"], rel=1e-5)


@pytest.mark.slow
def test_three_optimiser_steps():
    model, golden = pretrainer(), NUMBERS["train3"]
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = torch.optim.AdamW(model.param_groups(0.05), lr=0.0, betas=(0.9, 0.95))
    for iteration, step in enumerate(golden["steps"]):
        for group in optimiser.param_groups:
            group["lr"] = step["lr"]
        loss = model.loss(batch(f"lms_step{iteration}"), mask_noise=noise(f"mask_step{iteration}"))["loss"]
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimiser.step()
        model.ema_update(step["ema"])
        assert loss.item() == pytest.approx(step["loss"], rel=1e-5)
        assert norm.item() == pytest.approx(step["grad_norm"], rel=2e-4)
    after = model.loss(batch(), mask_noise=noise())["loss"].item()
    assert after == pytest.approx(golden["loss_after_on_first_batch"], rel=1e-5)
    end = dict(model.named_parameters())
    moved = {name: (end[name] - start[name]).double().norm().item() for name in golden["delta_l2"]}
    assert moved == pytest.approx(golden["delta_l2"], rel=2e-4)


@torch.no_grad()
def test_16x4_patches():
    model = pretrainer(input_size=(80, 200), patch_size=(16, 4))
    result = model.loss(batch("lms_batch_16x4", (2, 1, 80, 200)), mask_noise=noise("mask_noise_16x4", 250))
    assert result["loss"].item() == pytest.approx(NUMBERS["m2d_16x4"]["loss"], rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("standardise", [False, True])
def test_msm_mae(standardise):
    result = pretrainer(objective="msm_mae", standardise=standardise).loss(batch(), mask_noise=noise())
    golden = NUMBERS[f"msm_mae_norm_pix_{standardise}"]["loss"]
    assert result["loss"].item() == pytest.approx(golden, rel=1e-5)


def raw_mixture() -> tuple[torch.Tensor, torch.Tensor]:
    clean = torch.from_numpy(-7 + 4 * lms_batch("0", "mix_clean"))
    background = torch.from_numpy(-6 + 3 * lms_batch("0", "mix_noise", (2, 1, 80, 304))).repeat(1, 1, 1, 2)
    stats = NUMBERS["mix_stats"]
    mixed = mix_background(clean, background, stats["mean_main"], stats["mean_bg"], stats["noise_ratio"])
    return (clean - stats["mean_main"]) / stats["std_main"], mixed / stats["std_main"]


def test_background_mixing():
    golden = arrays("pretrain_seed0")
    for name, values in zip(("clean", "mixed"), raw_mixture(), strict=True):
        np.testing.assert_allclose(values[:, 0, ::16, ::38], golden[f"mix_{name}"], rtol=0, atol=1e-6)
        stats = [values.mean(), values.std(correction=0), values.min(), values.max(), values.norm()]
        assert [v.item() for v in stats] == pytest.approx(NUMBERS[f"mix_{name}_stats"], rel=1e-4)


def test_background_mixing_at_the_ends():
    clean, background = torch.tensor([1.0, -20.0]), torch.tensor([3.0, -20.0])
    torch.testing.assert_close(mix_background(clean, background, 0.5, 2.0, 0.0), clean - 0.5)
    torch.testing.assert_close(mix_background(clean, background, 0.5, 2.0, 1.0), background - 2.0)
    assert mix_background(clean, background, 0.0, 0.0, 0.3)[1] == pytest.approx(np.log(2.0**-23))


@pytest.fixture(scope="module")
def m2d_x() -> M2D:
    return pretrainer(objective="m2d_x")


@pytest.fixture(scope="module")
def teacher():
    return encoder("0T").eval()


@pytest.mark.parametrize(
    ("orientation", "noisy_student"),
    [("m2dx_reference_clean_to_student", False), ("m2dx_swapped_mixed_to_student", True)],
)
def test_m2d_x(m2d_x, teacher, orientation, noisy_student):
    clean, mixed = raw_mixture()
    golden = NUMBERS[orientation]
    m2d_x.zero_grad()
    m2d_x.config = M2DConfig(objective="m2d_x", noisy_student=noisy_student)
    result = m2d_x.loss(clean, mixed, noise(), teacher)
    for ours, reference in (("loss", "loss"), ("online", "loss_online"), ("offline", "loss_offline")):
        assert result[ours].item() == pytest.approx(golden[reference], rel=1e-5)
    result["loss"].backward()
    assert gradient_norms(m2d_x, golden["grad_norms"]) == pytest.approx(golden["grad_norms"], rel=1e-4)
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_teacher_features_may_be_given_and_must_fit():
    config = M2DConfig(**SMALL, objective="m2d_x")
    model, teacher = M2D(config), M2D(M2DConfig(**SMALL))
    spectrograms, order = torch.randn(2, 1, 80, 608), torch.rand(2, 190)
    whole = model.loss(spectrograms, mask_noise=order, teacher=teacher)
    given = model.loss(spectrograms, mask_noise=order, teacher=teacher.frame_features(spectrograms).detach())
    assert whole["loss"] == given["loss"]
    with pytest.raises(RespfmError, match="needs a teacher"):
        model.loss(spectrograms)
    with pytest.raises(RespfmError, match=r"log-mels of \(80, 600\)"):
        model.loss(spectrograms[..., :600], teacher=teacher)
    with pytest.raises(RespfmError, match="offline_dim"):
        model.loss(spectrograms, teacher=torch.zeros(2, 38, 768))


def test_position_tables():
    golden = arrays("posembed")
    grids = {"p16x16": (5, 38), "p16x4": (5, 50), "p80x2": (1, 304), "p1001": (5, 62)}
    for name, grid in grids.items():
        table = sincos_positions(768, grid)[0]
        assert list(table.shape) == golden[f"{name}_shape"].tolist()
        np.testing.assert_allclose(table[golden[f"{name}_rows"]], golden[name], rtol=0, atol=1e-7)
        narrow = sincos_positions(512, grid)[0]
        np.testing.assert_allclose(narrow[1], golden[f"{name}_dec_row1"], rtol=0, atol=1e-7)
        np.testing.assert_allclose(narrow[-1], golden[f"{name}_dec_last"], rtol=0, atol=1e-7)
    table = sincos_positions(768, (5, 38))
    longer = fit_columns(table, (5, 38), 62)[0]
    np.testing.assert_allclose(longer[golden["interp_38to62_rows"]], golden["interp_38to62"], rtol=0, atol=1e-6)
    torch.testing.assert_close(fit_columns(table, (5, 38), 25)[0, 1 + 25], table[0, 1 + 38])


def test_initialisation():
    torch.manual_seed(0)
    model = M2D(M2DConfig(dim=64, heads=2, depth=2, decoder_dim=32, decoder_heads=2, decoder_depth=1))
    bound = (6 / (64 + 192)) ** 0.5
    assert model.blocks[0].attn.qkv.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert not model.blocks[0].attn.qkv.bias.any()
    assert not torch.equal(model.blocks[0].attn.qkv.weight, model.target_blocks[0].attn.qkv.weight)
    loss = model.loss(torch.randn(4, 1, 80, 608))["loss"].item()
    assert 1.7 < loss < 2.3


def test_nothing_depends_on_masked_patches_but_the_target():
    torch.manual_seed(0)
    model = M2D(M2DConfig(**SMALL))
    spectrograms, order = torch.randn(1, 1, 80, 608), torch.rand(1, 190)
    before = model.predict(spectrograms, order)
    masked = before.order[0, 57].item()
    row, column = divmod(masked, 38)
    spectrograms[:, :, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] += 1
    after = model.predict(spectrograms, order)
    assert torch.equal(before.latent, after.latent)
    assert torch.equal(before.prediction, after.prediction)
    assert not torch.equal(before.target, after.target)


def test_activation_checkpointing_gives_the_same_gradients():
    torch.manual_seed(0)
    model = M2D(M2DConfig(**SMALL))
    spectrograms, order = torch.randn(2, 1, 80, 608), torch.rand(2, 190)
    gradients = []
    for wanted in (False, True):
        model.activation_checkpointing = wanted
        model.zero_grad()
        model.loss(spectrograms, mask_noise=order)["loss"].backward()
        gradients.append(model.patch_embed.proj.weight.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("objective", ["m2d", "m2d_x", "msm_mae"])
def test_bfloat16_autocast_gives_float32_losses_close_by(objective):
    torch.manual_seed(0)
    model, teacher = M2D(M2DConfig(**SMALL, objective=objective)), M2DEncoder(M2DConfig(**SMALL))
    inputs = {"clean": torch.randn(2, 1, 80, 608), "mask_noise": torch.rand(2, 190), "teacher": teacher}
    exact = model.loss(**inputs)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.loss(**inputs)
    rough["loss"].backward()
    for name, value in rough.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact[name].item(), rel=5e-3)


def test_collapse_is_visible():
    tokens = torch.randn(2, 50, 32)
    assert losses.spread(losses.standardise(tokens)) > 0.9
    assert losses.spread(losses.standardise(tokens[:1, :1].expand(2, 50, 32))) < 1e-6


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        {**SMALL, "objective": "m2d_x", "patch_size": (80, 4)},
        {**SMALL, "objective": "msm_mae", "mask_ratio": 0.6},
    ],
)
def test_flops_equal_those_that_torch_counts(config):
    config = M2DConfig(**config)
    model = M2D(config)
    teacher = M2DEncoder(config) if config.objective == "m2d_x" else None
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.loss(torch.randn(2, 1, 80, 608), teacher=teacher)["loss"].backward()
    assert counter.get_total_flops() == 2 * sample_flops(config)


def test_flops_of_the_published_model():
    assert sample_flops(M2DConfig()) == 83_634_481_152


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"objective": "m3d"}, "objective 'm3d'"),
        ({"patch_size": [160, 16]}, "does not fit"),
        ({"dim": 100, "heads": 3}, "multiple of 4"),
        ({"mask_ratio": 1.0}, "leaves 0 of 190"),
        ({"depht": 2}, "no setting 'depht'; did you mean 'depth'"),
    ],
)
def test_bad_configurations(values, message):
    with pytest.raises(RespfmError, match=message):
        M2DConfig.from_dict(values)


def test_configuration_survives_json():
    config = M2DConfig(objective="m2d_x", patch_size=(16, 4), input_size=(80, 200))
    assert M2DConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
