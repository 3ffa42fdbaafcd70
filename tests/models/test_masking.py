import sys

import pytest
import torch
from torch import nn

from maskdcpt_cli.models.masking import PatchMask, apply


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mask_ratio", [0.0, 0.25, 0.3, 0.5, 0.75])
def test_every_image_keeps_exactly_the_stated_patches(mask_ratio):
    mask = PatchMask.random(5, size=(64, 80), mask_ratio=mask_ratio, generator=seeded())
    assert mask.visible.shape == (5, round(20 * (1 - mask_ratio)))
    for patches in mask.visible:
        assert patches.unique().numel() == patches.numel()


def test_images_of_a_batch_and_draws_differ_but_a_seed_repeats():
    first = PatchMask.random(2, size=(256, 256), generator=seeded(1)).visible
    again = PatchMask.random(2, size=(256, 256), generator=seeded(1)).visible
    other = PatchMask.random(2, size=(256, 256), generator=seeded(2)).visible
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_whole_patches_are_visible_or_hidden():
    mask = PatchMask.random(1, size=(64, 64), generator=seeded())
    pixels = mask.unpack(mask.pack(torch.ones(1, 1, 64, 64)))
    patches = pixels.unfold(2, 16, 16).unfold(3, 16, 16).mean(dim=(-2, -1)).flatten()
    assert sorted(patches.tolist()) == [0.0] * 8 + [1.0] * 8
    assert patches.nonzero().flatten().tolist() == mask.visible[0].tolist()


@pytest.mark.parametrize("scale", [1, 2, 4, 8, 16])
def test_packing_at_every_resolution_forgets_only_the_hidden(scale):
    mask = PatchMask.random(2, size=(64, 96), generator=seeded())
    grid = torch.rand(2, 3, 64 // scale, 96 // scale)
    packed = mask.pack(grid)
    assert packed.shape == (2, 3, 12 * (16 // scale) ** 2, 1)
    laid_out = mask.unpack(packed)
    hidden = laid_out == 0
    assert torch.equal(laid_out[~hidden], grid[~hidden])
    assert torch.equal(mask.pack(laid_out), packed)


def test_positions_coarser_than_a_patch_are_all_visible():
    mask = PatchMask.random(1, size=(32, 32), patch_size=4, mask_ratio=0.75, generator=seeded())
    coarse = torch.rand(1, 2, 4, 4)
    assert torch.equal(mask.pack(coarse), coarse)
    assert mask.pack(torch.rand(1, 2, 8, 8)).shape == (1, 2, 16, 1)


def test_patches_must_divide_the_crop():
    with pytest.raises(ValueError, match="16 pixels do not divide an image of 60x64"):
        PatchMask.random(1, size=(60, 64))


def test_apply_runs_the_layer():
    assert apply(torch.neg, torch.ones(1)).item() == -1


@pytest.fixture
def one_thread():
    """spconv 2.3.8 pairs positions on the CPU in threads that disturb one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info >= (3, 14), reason="spconv has no wheel here"
)
def test_a_convolution_on_the_grid_is_a_submanifold_convolution():
    spconv = pytest.importorskip("spconv.pytorch")
    mask = PatchMask.random(2, size=(32, 48), generator=seeded())
    grid = torch.rand(2, 5, 32, 48, generator=seeded())
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
