"""Experts: which are chosen, which are computed, and the loss that spreads images over them."""

import pytest
import torch

from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.models.masking import apply
from maskdcpt_cli.models.moe import EXPERTS, NOISE, Expert, Experts, blocks_of_decoder, load_loss
from maskdcpt_cli.models.pooling import whole_image
from tests.golden import fill_with_golden_weights, golden_image
from tests.small import small

EMBEDDING = torch.eye(EXPERTS)  # an image for each expert
EQUAL = torch.ones(EXPERTS)


def experts() -> Experts:
    """Experts of which an image's embedding chooses one alone."""
    layer = Experts(8, embedding=EXPERTS)
    fill_with_golden_weights(layer)
    with torch.no_grad():
        layer.by_features.weight.zero_()
        layer.by_degradation.weight.copy_(5 * torch.eye(EXPERTS))
    return layer


def maps(batch: int) -> torch.Tensor:
    return torch.rand(batch, 8, 16, 24, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_each_image_goes_to_one_expert_weighted_by_its_probability():
    layer, x, shared = experts(), maps(4), maps(4).flip(0)
    together = layer(x, shared, EMBEDDING, apply, whole_image)
    probability = (5 * EMBEDDING).softmax(dim=-1)[0, 0]
    for i, expert in enumerate(layer.experts):
        alone = layer.project_out(probability * expert(x[i, None], shared[i, None], apply))
        torch.testing.assert_close(together[i, None], alone)


def test_only_chosen_experts_are_computed_but_in_training_all(monkeypatch):
    computed = []
    forward = Expert.forward

    def counted(self, *args):
        computed.append(self)
        return forward(self, *args)

    monkeypatch.setattr(Expert, "forward", counted)
    layer = experts()
    arguments = (maps(2), maps(2), EMBEDDING[[1, 3]], apply, whole_image)
    with torch.no_grad():
        chosen = layer(*arguments)
    assert computed == [layer.experts[1], layer.experts[3]]
    computed.clear()
    torch.testing.assert_close(layer(*arguments), chosen)
    assert len(computed) == EXPERTS


def test_experts_rise_in_cost():
    costs = experts().cost
    assert (costs.diff() > 0).all()
    assert costs[-1] == 1


def test_every_parameter_is_trained_even_of_experts_that_are_not_chosen():
    backbone = small("restormer-moe").train()
    loss = backbone(golden_image(32, 32, 2)).square().mean() + backbone.auxiliary_loss()
    loss.backward()
    for key, parameter in backbone.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.any() or ".experts." in key, key


def test_the_loss_of_the_load_is_taken_once_and_only_in_training():
    backbone = small("restormer-moe")
    lq = golden_image(32, 32)
    backbone(lq)
    assert backbone.auxiliary_loss() is None
    backbone.train()(lq)
    each = [one.load_loss for one in backbone.modules() if isinstance(one, Experts)]
    loss = backbone.auxiliary_loss()
    assert loss is not None
    assert len(each) > 1
    assert loss.item() == pytest.approx(sum(one.item() for one in each) / len(each))
    assert loss > 0
    assert backbone.auxiliary_loss() is None
    assert build_backbone("restormer", dim=8).auxiliary_loss() is None


def test_an_even_load_costs_nothing_and_a_skewed_one_does():
    logits = 20 * torch.eye(EXPERTS)
    even = load_loss(logits, logits, EQUAL)
    skewed = load_loss(logits[:1].repeat(4, 1), logits[:1].repeat(4, 1), EQUAL)
    assert even < 1e-6
    assert skewed > 1


def test_costly_experts_are_to_be_chosen_less_often():
    """The importance is even where the probability of an expert falls as its cost rises."""
    cost = torch.tensor([0.25, 0.5, 0.5, 1.0])
    cheap = (1 / cost).log()[None]
    noisy = cheap + NOISE
    assert load_loss(cheap, noisy, cost) < load_loss(-cheap, NOISE - cheap, cost)
    importance = cheap.softmax(dim=-1)[0] * cost
    torch.testing.assert_close(importance, importance.mean().expand(EXPERTS))


@pytest.mark.parametrize(("encoder", "decoder"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (6, 4)])
def test_the_decoder_has_as_many_blocks_as_moce_ir(encoder, decoder):
    assert blocks_of_decoder(encoder) == decoder
