"""Networks in training mode, a piece of the batch at a time: the numbers of the whole batch, in less memory."""

import pytest
import torch
from respfm.encoders import byola, cnn14
from respfm.encoders.train_mode import MICRO_BATCH, NormalisedByBatch, channel_statistics
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

CLIPS = 2 * MICRO_BATCH + 3


def at_once(convolution, norm, pieces):
    """What a module in training mode does."""
    return [F.relu(norm(convolution(torch.cat(list(pieces)))))]


def encoder_of(module):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if module is cnn14:
            return cnn14.Cnn14Encoder(cnn14.Cnn14().eval().requires_grad_(False), train_seed=1)
        network = byola.ByolaNetwork(2, 64).eval().requires_grad_(False)
        return byola.ByolaEncoder(network, (-5.0, 5.0), train_seed=1)


def clips(seconds: float) -> torch.Tensor:
    """Noise of which each clip is louder than the one before."""
    noise = torch.randn(CLIPS, round(16000 * seconds), generator=torch.Generator().manual_seed(0))
    return noise * torch.linspace(0.01, 0.3, CLIPS)[:, None]


@pytest.mark.parametrize("module", [cnn14, byola])
def test_pieces_give_what_the_batch_gives_dropout_included(module, monkeypatch):
    encoder = encoder_of(module)
    found = encoder.embed(clips(0.5))
    monkeypatch.setattr(module, "NormalisedByBatch", at_once)
    for layer, expected in encoder.embed(clips(0.5)).items():
        assert (found[layer] - expected).abs().max() < 1e-5 * expected.abs().max()
    encoder.train_seed = 2
    other, layer = encoder.embed(clips(0.5))[encoder.default_layer], encoder.default_layer
    assert (other - found[layer]).abs().max() > 0.01 * other.abs().max()


def test_the_network_is_as_it_was(monkeypatch):
    encoder = encoder_of(cnn14)
    before = {name: value.clone() for name, value in encoder.network.state_dict().items() if "tracked" not in name}
    encoder.embed(clips(0.4))
    assert not encoder.network.training
    assert all(torch.equal(encoder.network.state_dict()[name], value) for name, value in before.items())


def test_statistics_far_from_zero():
    values = 1000 + torch.randn(CLIPS, 3, 40, 5, generator=torch.Generator().manual_seed(0))
    mean, variance = channel_statistics(values.split(MICRO_BATCH))
    expected = torch.var_mean(values.double(), (0, 2, 3), correction=0)
    torch.testing.assert_close((variance.double(), mean.double()), expected, rtol=1e-5, atol=0)


def test_a_convolution_keeps_its_padding():
    with torch.inference_mode():
        convolution, norm = torch.nn.Conv2d(2, 3, (3, 5), padding=(1, 2)), torch.nn.BatchNorm2d(3)
        image = torch.randn(CLIPS, 2, 7, 9)
        found = torch.cat(list(NormalisedByBatch(convolution, norm, image.split(MICRO_BATCH))))
        torch.testing.assert_close(found, at_once(convolution, norm, [image])[0])


class Largest(TorchDispatchMode):
    """Values of the largest tensor that a convolution gives."""

    values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if "conv" in str(function):
            self.values = max(self.values, made.numel())
        return made


@pytest.mark.parametrize("module", [cnn14, byola])
def test_no_result_of_a_convolution_is_kept_for_the_whole_batch(module, monkeypatch):
    encoder = encoder_of(module)
    with Largest() as pieces:
        encoder.embed(clips(0.5))
    monkeypatch.setattr(module, "NormalisedByBatch", at_once)
    with Largest() as whole:
        encoder.embed(clips(0.5))
    assert whole.values == CLIPS * 64 * 64 * 51
    assert pieces.values == MICRO_BATCH * 64 * 64 * 51
