"""The contract of every backbone: walks NETWORKS."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.models.backbone import pad_by_reflection
from maskdcpt_cli.models.masking import PatchMask
from tests.golden import golden_image
from tests.small import NETWORKS, backbone_of, small, two_blocks

pytestmark = pytest.mark.usefixtures("narrow_prompts")

SIZE = (64, 96)

AUTHORS = {  # the options of the forms that the authors of the networks released
    "nafnet": {"padding": "zeros", "norm_eps": 1e-6},
    "restormer": {"norm": "bias-free"},
    "promptir": {"bias": False},
    "swinir": {"attention": "swin"},
}
every_backbone = pytest.mark.parametrize("name", NETWORKS)


def draw(*, mask_ratio: float = 0.5, patch_size: int = 16, seed: int = 0) -> PatchMask:
    generator = torch.Generator().manual_seed(seed)
    return PatchMask.random(
        2, size=SIZE, patch_size=patch_size, mask_ratio=mask_ratio, generator=generator
    )


def pixels_of(mask: PatchMask) -> torch.Tensor:
    """(B, 1, H, W), one where a pixel is visible."""
    shape = (2, 1, *mask.size)
    return mask.unpack(mask.pack(torch.ones(shape)))


def encode(backbone, lq, mask):
    latent, features = backbone.encode(mask.pack(lq), mask)
    return [latent, *features]


@every_backbone
@pytest.mark.parametrize("patch_size", [1, 4, 16, 32])
def test_hidden_pixels_do_not_matter(name, patch_size):
    backbone, lq, mask = small(name), golden_image(*SIZE, 2), draw(patch_size=patch_size)
    noise = torch.rand(lq.shape, generator=torch.Generator().manual_seed(1))
    visible = pixels_of(mask).bool()
    with torch.inference_mode():
        ours = encode(backbone, lq, mask)
        other = encode(backbone, torch.where(visible, lq, noise), mask)
        seen = encode(backbone, torch.where(visible, noise, lq), mask)
    for a, b, c in zip(ours, other, seen, strict=True):
        assert torch.equal(a, b)
        assert not torch.allclose(a, c)


@pytest.mark.parametrize("name", AUTHORS)
def test_networks_in_the_form_of_their_authors_obey_masks_too(name):
    backbone, lq = small(name, **AUTHORS[name]), golden_image(*SIZE, 2)
    mask, everything = draw(), draw(mask_ratio=0.0)
    visible = pixels_of(mask).bool()
    with torch.inference_mode():
        ours = encode(backbone, lq, mask)
        other = encode(backbone, torch.where(visible, lq, 1 - lq), mask)
        dense = backbone.encode(lq)
        whole = encode(backbone, lq, everything)
    assert all(map(torch.equal, ours, other))
    assert all(map(torch.equal, whole, [dense.latent, *dense.features]))


@every_backbone
def test_all_visible_equals_dense(name):
    backbone, lq = small(name), golden_image(*SIZE, 2)
    with torch.inference_mode():
        dense = backbone.encode(lq)
        ours = encode(backbone, lq, draw(mask_ratio=0.0))
    for a, b in zip(ours, [dense.latent, *dense.features], strict=True):
        assert torch.equal(a, b)


@every_backbone
@pytest.mark.parametrize("mask_ratio", [0.25, 0.5, 0.75])
def test_exactly_the_visible_positions_come_back(name, mask_ratio):
    backbone, mask = small(name), draw(mask_ratio=mask_ratio)
    kept = round(24 * (1 - mask_ratio))
    with torch.inference_mode():
        dense = backbone.encode(golden_image(*SIZE, 2))
        packed = encode(backbone, golden_image(*SIZE, 2), mask)
    for grid, ours in zip([dense.latent, *dense.features], packed, strict=True):
        scale = SIZE[0] // grid.shape[-2]
        assert ours.shape == (2, grid.shape[1], 1, kept * (16 // scale) ** 2)
        assert torch.isfinite(ours).all()


@every_backbone
def test_gradients_under_activation_checkpointing_are_equal(name):
    lq, mask = golden_image(*SIZE, 2), draw()

    def gradients(run):
        backbone = small(name)
        run(backbone).latent.square().mean().backward()
        return {key: p.grad for key, p in backbone.named_parameters() if p.grad is not None}

    plain = gradients(lambda net: net.encode(mask.pack(lq), mask))
    saved = gradients(lambda net: checkpoint(net.encode, mask.pack(lq), mask, use_reentrant=False))
    assert plain.keys() == saved.keys()
    assert plain
    for key, gradient in plain.items():
        assert torch.equal(gradient, saved[key]), key


@pytest.mark.slow  # test_maskdcpt.py compiles the same within the whole model
@every_backbone
def test_compiles_as_one_graph(name):
    backbone, lq, mask = small(name, **two_blocks(name)), golden_image(*SIZE, 2), draw()
    compiled = torch.compile(backbone.encode, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        ours = compiled(mask.pack(lq), mask).latent
        eager = backbone.encode(mask.pack(lq), mask).latent
    assert torch.allclose(ours, eager, atol=1e-5 * eager.std())


@every_backbone
@pytest.mark.parametrize("size", [(1, 1), (3, 70), (17, 5), (64, 64)])
def test_any_size_goes_in_and_comes_out(name, size):
    with torch.inference_mode():
        assert small(name)(golden_image(*size)).shape == (1, 3, *size)


@every_backbone
def test_residual_is_global(name):
    backbone, lq = small(name), golden_image(32, 32)
    for parameter in backbone.parameters():
        nn.init.zeros_(parameter)
    with torch.inference_mode():
        assert torch.equal(backbone(lq), lq)


@every_backbone
def test_options_are_kept_and_rebuild_the_network(name):
    backbone = small(name)
    again = build_backbone(backbone_of(name), **{o: getattr(backbone, o) for o in backbone.options})
    assert [p.shape for p in again.parameters()] == [p.shape for p in backbone.parameters()]


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'nafnet'"):
        build_backbone("nafnett")
    with pytest.raises(ValueError, match="Did you mean 'width'"):
        build_backbone("nafnet", widht=3)


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("nafnet", {"padding": "zeroes"}, "Did you mean 'zeros'"),
        ("nafnet", {"padding": ["zeros"]}, "Choose from: reflect, zeros"),
        ("nafnet", {"norm_eps": 0}, "norm_eps is 0; valid are numbers from 1e-12 to 0.01"),
        ("restormer", {"norm": "biasfree"}, "Did you mean 'bias-free'"),
        ("promptir", {"bias": 0}, "bias is 0; valid are true and false"),
        ("swinir", {"attention": True}, "Choose from: plain, swin"),
    ],
)
def test_forms_that_do_not_exist_are_refused(name, options, fault):
    with pytest.raises(ValueError, match=fault):
        build_backbone(name, **options)


def test_nafnet_wants_as_many_decoders_as_encoders():
    with pytest.raises(ValueError, match="enc_blk_nums has 2 and dec_blk_nums 1"):
        build_backbone("nafnet", enc_blk_nums=(1, 1), dec_blk_nums=(1,))


def test_unshuffled_nafnet_works_at_half_resolution():
    backbone = small("nafnet", unshuffle=2)
    assert backbone.size_multiple == 32
    with torch.inference_mode():
        assert backbone.encode(golden_image(64, 96)).latent.shape == (1, 8, 32, 48)
        assert backbone(golden_image(64, 96)).shape == (1, 3, 64, 96)


def test_padding_mirrors_as_often_as_it_must():
    row = torch.tensor([[0.0, 1.0, 2.0]])
    padded = pad_by_reflection(row, 8)
    assert padded[0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert padded.shape == (8, 8)
    assert pad_by_reflection(torch.ones(3, 16, 8), 8).shape == (3, 16, 8)
