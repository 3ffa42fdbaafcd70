"""Networks that are asked what to remove."""

import pytest
import torch
from torch import nn

from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.models.instruct import InstructionBlock
from tests.golden import golden_image
from tests.small import ARCHITECTURES, NETWORKS, SMALL, backbone_of, small

ASKED = [name for name in NETWORKS if name.endswith("-instruct")]
OTHERS = [name for name in NETWORKS if name not in ASKED]

every_asked_network = pytest.mark.parametrize("name", ASKED)


@every_asked_network
@torch.inference_mode()
def test_every_type_makes_a_difference_and_each_image_has_its_own_request(name):
    backbone, lq = small(name).double(), golden_image(32, 32).double()
    requests = torch.cat([torch.zeros(1, 3), torch.eye(3), torch.ones(1, 3)])
    together = backbone(lq.repeat(5, 1, 1, 1), requests)
    for i, restored in enumerate(together):
        alone = backbone(lq, requests[i : i + 1])[0]
        torch.testing.assert_close(alone, restored, rtol=0, atol=1e-9 * float(restored.std()))
        for other in together[:i]:
            assert (other - restored).abs().mean() > 1e-5 * restored.std()


@every_asked_network
@torch.inference_mode()
def test_asked_for_nothing_it_returns_its_input(name):
    backbone, lq = small(name), golden_image(29, 35, 2)
    requests = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    restored = backbone(lq, requests)
    assert torch.equal(restored[0], lq[0])
    assert not torch.equal(restored[1], lq[1])


@every_asked_network
@torch.inference_mode()
def test_no_request_asks_for_everything(name):
    backbone, lq = small(name).double(), golden_image(32, 32, 2).double()
    assert torch.equal(backbone(lq), backbone(lq, torch.ones(1, 3)))
    ours, each = backbone(lq), backbone(lq, torch.ones(2, 3))
    torch.testing.assert_close(ours, each, rtol=0, atol=1e-9 * float(each.std()))


@every_asked_network
def test_gradients_reach_all_parameters(name):
    backbone = small(name)
    backbone(
        golden_image(32, 32, 2), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    ).sum().backward()
    for key, parameter in backbone.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", [*ASKED, "restormer-frequency"])
@torch.inference_mode()
def test_it_begins_as_the_plain_network_whose_weights_it_takes(name):
    torch.manual_seed(0)
    sizes = SMALL[backbone_of(name)]
    plain = build_backbone(backbone_of(name), **sizes)
    network = build_backbone(backbone_of(name), **sizes, **ARCHITECTURES[name])
    missing, unexpected = network.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert {key.split(".")[0] for key in missing} - {
        key.split(".")[0] for key in plain.state_dict()
    }
    lq = golden_image(32, 32)
    assert torch.equal(network(lq), plain(lq))


@every_asked_network
def test_a_request_of_other_types_is_refused(name):
    backbone, lq = small(name), golden_image(32, 32)
    for wrong in (torch.ones(1, 5), torch.ones(3)):
        with pytest.raises(ValueError, match=r"can be asked for 3 types, and the request is \("):
            backbone(lq, wrong)


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_cannot_be_asked(name):
    backbone, lq = small(name), golden_image(32, 32)
    assert backbone.request_types == 0
    for ask in (backbone, lambda lq, request: backbone.encode(lq, request=request)):
        with pytest.raises(
            ValueError, match=r"cannot be asked what to remove, and the .* \(1, 3\)"
        ):
            ask(lq, torch.ones(1, 3))


@pytest.mark.parametrize(
    ("backbone", "options", "sentence"),
    [
        (
            "restormer",
            {"architecture": "moee"},
            r"Unknown architecture 'moee'\. Did you mean 'moe'",
        ),
        ("nafnet", {"architecture": "moe"}, r"Unknown architecture 'moe'.*: instruct, plain\."),
        ("nafnet", {"architecture": "instruct"}, r"request_types is 0; valid are .* 1 to 64"),
        (
            "nafnet",
            {"request_types": 3},
            r"request_types is 3, but only the architecture 'instruct'",
        ),
        ("promptir", {"architecture": "plain"}, r"Unknown option of promptir 'architecture'"),
    ],
)
def test_architectures_that_do_not_exist_are_refused(backbone, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_backbone(backbone, **options)


def test_a_masked_out_channel_does_not_enter_its_block():
    block = InstructionBlock(nn.Conv2d(4, 4, 1, bias=False), channels=4)
    block.block.forward = lambda x, *_: x
    nn.init.ones_(block.gamma)
    with torch.no_grad():
        block.mask.bias.copy_(torch.tensor([-1e3, 1e3, 0.0, 0.0]))
    x = torch.rand(1, 4, 8, 8)
    y = block(x, torch.zeros(1, 128), None, None)
    torch.testing.assert_close(y, x * torch.tensor([1.0, 2.0, 1.5, 1.5]).view(4, 1, 1))
