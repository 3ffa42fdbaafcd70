import sys

import pytest
import torch
from torch import nn

from maskdcpt_cli.models.mask_methods import METHODS
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.models.masking import PatchMask, apply
from tests.small import NETWORKS, small


def generator_of(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


every_method = pytest.mark.parametrize("method", METHODS)


def draw(method: str = "random", batch: int = 1, *, seed: int = 0, **options) -> PatchMask:
    return PatchMask.draw(method, batch, generator=generator_of(seed), **options)


def hidden_patches(mask: PatchMask) -> torch.Tensor:
    """(B, rows, columns), true where hidden."""
    rows, columns = (side // mask.patch_size for side in mask.size)
    hidden = torch.ones(len(mask.visible), rows * columns, dtype=torch.bool)
    return hidden.scatter(1, mask.visible, False).view(-1, rows, columns)


@every_method
@pytest.mark.parametrize("size", [(64, 80), (256, 256), (32, 256), (256, 32), (16, 16)])
@pytest.mark.parametrize("mask_ratio", [0.0, 0.25, 0.3, 0.5, 0.75, 0.97])
def test_every_image_keeps_exactly_the_stated_patches(method, size, mask_ratio):
    mask = draw(method, 5, size=size, mask_ratio=mask_ratio)
    patches = size[0] * size[1] // 256
    kept = round(patches * (1 - mask_ratio))
    assert mask.visible.shape == (5, kept)
    assert hidden_patches(mask).sum(dim=(1, 2)).tolist() == [patches - kept] * 5
    assert torch.equal(mask.visible, mask.visible.sort(dim=1).values)


@every_method
def test_images_of_a_batch_and_draws_differ_but_a_seed_repeats(method):
    first, again, other = (
        draw(method, 2, size=(256, 256), seed=seed).visible for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


@every_method
def test_every_patch_is_hidden_sometimes(method):
    share = hidden_patches(draw(method, 300, size=(128, 128))).float().mean(dim=0)
    assert share.min() > 0.01
    assert share.mean().item() == pytest.approx(0.5)


def test_random_is_the_method_of_the_paper():
    ours = PatchMask.random(3, size=(64, 64), generator=generator_of())
    assert torch.equal(ours.visible, draw("random", 3, size=(64, 64)).visible)


@pytest.mark.parametrize(
    ("size", "mask_ratio", "height", "width"),
    [((256, 256), 0.5, 12, 11), ((256, 256), 0.25, 8, 8), ((32, 256), 0.75, 2, 12)],
)
def test_square_hides_one_square(size, mask_ratio, height, width):
    for hidden in hidden_patches(draw("square", 20, size=size, mask_ratio=mask_ratio)):
        y, x = hidden.nonzero().unbind(dim=1)
        assert (y.max() - y.min() + 1, x.max() - x.min() + 1) == (height, width)
        assert hidden.sum() > height * (width - 1)  # only one row may be cut short


def neighbours(mask: PatchMask) -> float:
    """Return the fraction of patches that equal their right neighbour."""
    hidden = hidden_patches(mask)
    return (hidden[..., 1:] == hidden[..., :-1]).float().mean().item()


def test_blocks_hang_together():
    scattered, blocks = (
        neighbours(draw(method, 50, size=(256, 256))) for method in ("random", "block-wise")
    )
    assert scattered == pytest.approx(0.5, abs=0.02)
    assert blocks > 0.8


def test_unknown_methods_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'block-wise'"):
        draw("blockwise", size=(64, 64))


def test_hidden_positions_are_filled_with_the_token():
    mask, token = draw(batch=2, size=(64, 96)), torch.tensor([5.0, 6.0, 7.0], requires_grad=True)
    grid = torch.rand(2, 3, 32, 48)
    filled = mask.fill(mask.pack(grid), token)
    hidden = mask.unpack(mask.pack(torch.ones(2, 1, 32, 48))) == 0
    assert torch.equal(filled, torch.where(hidden, token.view(3, 1, 1), grid))
    filled.sum().backward()
    assert token.grad.tolist() == [hidden.sum().item()] * 3


def test_a_map_without_hidden_positions_needs_no_token():
    grid = torch.rand(1, 3, 64, 64)
    assert torch.equal(draw(size=(64, 64), mask_ratio=0.0).fill(grid, torch.ones(3)), grid)


def test_whole_patches_are_visible_or_hidden():
    mask = PatchMask.random(1, size=(64, 64), generator=generator_of())
    pixels = mask.unpack(mask.pack(torch.ones(1, 1, 64, 64)))
    patches = pixels.unfold(2, 16, 16).unfold(3, 16, 16).mean(dim=(-2, -1)).flatten()
    assert sorted(patches.tolist()) == [0.0] * 8 + [1.0] * 8
    assert patches.nonzero().flatten().tolist() == mask.visible[0].tolist()


@pytest.mark.parametrize("scale", [1, 2, 4, 8, 16])
def test_packing_at_every_resolution_forgets_only_the_hidden(scale):
    mask = PatchMask.random(2, size=(64, 96), generator=generator_of())
    grid = torch.rand(2, 3, 64 // scale, 96 // scale)
    packed = mask.pack(grid)
    assert packed.shape == (2, 3, 1, 12 * (16 // scale) ** 2)
    laid_out = mask.unpack(packed)
    hidden = laid_out == 0
    assert torch.equal(laid_out[~hidden], grid[~hidden])
    assert torch.equal(mask.pack(laid_out), packed)


def test_positions_coarser_than_a_patch_are_all_visible():
    mask = PatchMask.random(
        1, size=(32, 32), patch_size=4, mask_ratio=0.75, generator=generator_of()
    )
    coarse = torch.rand(1, 2, 4, 4)
    assert torch.equal(mask.pack(coarse), coarse)
    assert mask.pack(torch.rand(1, 2, 8, 8)).shape == (1, 2, 1, 16)


@pytest.mark.parametrize("patch_size", [1, 2, 4, 6, 16])
@pytest.mark.parametrize(
    "form", [{}, {"groups": 4}, {"stride": 2}, {"bias": False}, {"dilation": 2}]
)
def test_a_convolution_is_the_same_as_on_the_grid(patch_size, form):
    mask = PatchMask.random(2, size=(48, 96), patch_size=patch_size, generator=generator_of())
    conv = nn.Conv2d(4, 8, 3, padding=1 + (form.get("dilation") == 2), **form).double()
    grid = torch.rand(2, 4, 48, 96, dtype=torch.double)
    answers = []
    for on_grid in (lambda x: mask.pack(conv(mask.unpack(x))), lambda x: mask(conv, x)):
        packed = mask.pack(grid).requires_grad_()
        answer = on_grid(packed)
        gradients = torch.autograd.grad(answer.square().sum(), [packed, conv.weight])
        answers.append([answer, *gradients])
    for ours, expected in zip(*answers, strict=True):
        torch.testing.assert_close(ours, expected)


class Halved(nn.Conv2d):
    """A convolution with a forward of its own."""

    def forward(self, x):
        return super().forward(x / 2)


def watched() -> nn.Conv2d:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    conv.register_forward_hook(lambda _conv, _x, y: y.relu())
    return conv


@pytest.mark.parametrize("patch_size", [1, 16])
@pytest.mark.parametrize(
    "conv",
    [
        lambda: Halved(4, 4, 3, padding=1),
        watched,
        lambda: nn.utils.spectral_norm(nn.Conv2d(4, 4, 3, padding=1)).eval(),
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1)),
        lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="replicate"),
    ],
    ids=["subclass", "hook", "spectral norm", "weight norm", "reflect", "circular", "replicate"],
)
def test_a_layer_that_is_more_than_a_convolution_runs_as_itself(conv, patch_size):
    mask = PatchMask.random(2, size=(32, 48), patch_size=patch_size, generator=generator_of())
    layer, packed = conv(), mask.pack(torch.rand(2, 4, 32, 48))
    assert torch.equal(mask(layer, packed), mask.pack(layer(mask.unpack(packed))))


@pytest.mark.parametrize("name", NETWORKS)
def test_convolutions_of_every_network_may_leave_out_the_grid(name):
    model = MaskDCPT(small(name), classes=3, classifier_dims=(4, 8, 8, 8))
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert all(type(layer) is nn.Conv2d for layer in convolutions)
    neighbours = next(iter(draw(size=(64, 64))._neighbours.values()))
    own = [layer for layer in model.backbone.modules() if isinstance(layer, nn.Conv2d)]
    assert any(neighbours.supports(layer) for layer in own)


def test_patches_must_divide_the_crop():
    with pytest.raises(ValueError, match="16 pixels do not divide an image of 60x64"):
        PatchMask.random(1, size=(60, 64))


def test_apply_runs_the_layer():
    assert apply(torch.neg, torch.ones(1)).item() == -1


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info >= (3, 14), reason="spconv has no wheel here"
)
def test_a_convolution_on_the_grid_is_a_submanifold_convolution():
    spconv = pytest.importorskip("spconv.pytorch")
    mask = PatchMask.random(2, size=(32, 48), generator=generator_of())
    grid = torch.rand(2, 5, 32, 48, generator=generator_of())
    conv = nn.Conv2d(5, 7, 3, padding=1)
    ours = mask.unpack(mask(conv, mask.pack(grid)))

    visible = mask.unpack(mask.pack(torch.ones(2, 1, 32, 48)))[:, 0].nonzero()
    rows = grid.permute(0, 2, 3, 1)[visible[:, 0], visible[:, 1], visible[:, 2]].contiguous()
    sparse = spconv.SubMConv2d(5, 7, 3, padding=1, algo=spconv.ConvAlgo.Native)
    with torch.no_grad():
        sparse.weight.copy_(conv.weight.permute(0, 2, 3, 1))
        sparse.bias.copy_(conv.bias)
        indices = visible.int().contiguous()  # nonzero's is column by column
        theirs = sparse(spconv.SparseConvTensor(rows, indices, [32, 48], 2)).dense()
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert ours.abs().sum() > 0
