import pytest
import torch

from maskdcpt_cli.models.masking import PatchMask
from maskdcpt_cli.models.reconstruction import Reconstruction

SIZE = (64, 96)


def features_of(dims) -> list[torch.Tensor]:
    """Random features, each of half the resolution of the one before."""
    return [torch.rand(2, dim, SIZE[0] >> i, SIZE[1] >> i) for i, dim in enumerate(dims)]


@pytest.mark.parametrize("dims", [(4,), (4, 4, 4), (4, 6, 8, 10), (4, 6, 8, 10, 12)])
@pytest.mark.parametrize("scale", [1, 2])
def test_draws_an_image_of_the_input_size(dims, scale):
    image = Reconstruction(dims, scale=scale)(features_of(dims))
    assert image.shape == (2, 3, scale * SIZE[0], scale * SIZE[1])


def test_all_visible_equals_dense():
    decoder, features = Reconstruction((4, 6, 8)), features_of((4, 6, 8))
    mask = PatchMask.draw("random", 2, size=SIZE, mask_ratio=0.0)
    assert torch.equal(decoder(features, mask), decoder(features))


@pytest.mark.parametrize("dims", [(4, 4, 4), (4, 6, 8, 10)])
@pytest.mark.parametrize("patch_size", [16, 32])
def test_what_is_visible_reaches_every_hidden_pixel(dims, patch_size):
    """The middle of a hidden patch whose neighbours are visible depends on all of them."""
    side = 3 * patch_size
    mask = PatchMask(
        torch.tensor([[0, 1, 2, 3, 5, 6, 7, 8]]), size=(side, side), patch_size=patch_size
    )
    features = [
        mask.pack(torch.rand(1, dim, side >> i, side >> i)).requires_grad_()
        for i, dim in enumerate(dims)
    ]
    middle = side // 2
    Reconstruction(dims)(features, mask)[..., middle, middle].sum().backward()
    reached = mask.unpack(features[-1].grad).abs().sum(dim=1)[0]
    patch = patch_size >> (len(dims) - 1)
    across = reached.unfold(0, patch, patch).unfold(1, patch, patch).sum(dim=(-2, -1))
    assert (across[[0, 1, 1, 2], [1, 0, 2, 1]] > 0).all()


def test_tokens_have_a_gradient_even_where_nothing_is_hidden():
    decoder = Reconstruction((4, 6))
    decoder(features_of((4, 6))).sum().backward()
    assert all(token.grad.abs().sum() == 0 for token in decoder.tokens)
