"""Values pooled over a whole image, used for its tiles: walks NETWORKS."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from maskdcpt_cli.inference.backends.engine import PooledValues, TileResidual
from maskdcpt_cli.models import Backbone, frequency
from maskdcpt_cli.models.fourier import WindowConvolution
from maskdcpt_cli.models.masking import PatchMask
from maskdcpt_cli.models.pooling import JointPool, RecordedPool, whole_image
from tests.golden import golden_image
from tests.small import IN_SHORT, NETWORKS, small, two_blocks

SIZE = (32, 768)
WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
REACH = 192  # pixels, further than any of the small networks looks
every_backbone = pytest.mark.parametrize("name", NETWORKS)


def box(rows: slice, columns: slice, size: tuple[int, int] = SIZE) -> Tensor:
    extent = (rows.stop - rows.start, columns.stop - columns.start)
    return (
        torch.tensor([[rows.start, columns.start, *extent]]) / torch.tensor([*size, *size])
    ).double()


def record(backbone: Backbone, tiles: Tensor, boxes: Tensor, *, context: int = 0) -> list[Tensor]:
    pool = JointPool(boxes, context=context)
    backbone.encode(tiles, pool=pool)
    return pool.values


def pools(name: str) -> bool:
    with torch.inference_mode():
        return bool(record(small(name), golden_image(64, 64), WHOLE))


POOLING = [name for name in sorted(NETWORKS) if pools(name)]
every_pooling_backbone = pytest.mark.parametrize("name", POOLING)
every_pooling_in_short = pytest.mark.parametrize("name", [x for x in IN_SHORT if x != "swinir"])


def test_the_released_backbones_pool_but_for_attention_within_windows():
    assert {"nafnet", "promptir", "restormer"} <= set(POOLING)
    assert "swinir" not in POOLING


def residual(backbone: Backbone, lq: Tensor, boxes: Tensor, values: list[Tensor]) -> Tensor:
    return backbone.head(backbone.encode(lq, pool=RecordedPool(boxes, values)).latent)


@pytest.mark.parametrize("name", IN_SHORT)
@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.usefixtures("narrow_prompts")
@torch.inference_mode()
def test_tiles_equal_the_whole_image_inside_their_receptive_field(name, upright):
    backbone = small(name).double()
    lq, cut = golden_image(*SIZE).double(), (slice(0, 32), slice(128, 640))
    size = SIZE
    if upright:
        lq, cut, size = lq.mT.contiguous(), cut[::-1], SIZE[::-1]
    whole = backbone.head(backbone.encode(lq).latent)
    values = record(backbone, lq, WHOLE.double())
    ours = residual(backbone, lq[..., cut[0], cut[1]], box(*cut, size), values)
    if upright:
        ours, whole = ours.mT, whole.mT
    inside = ours[..., REACH:-REACH]
    expected = whole[..., 128 + REACH : 640 - REACH]
    assert inside.shape[-1] == 128
    torch.testing.assert_close(inside, expected, rtol=0, atol=1e-5 * float(whole.std()))
    own = backbone.head(backbone.encode(lq[..., cut[0], cut[1]]).latent)
    own = (own.mT if upright else own)[..., REACH:-REACH]
    assert (name in POOLING) != torch.allclose(
        own, expected, rtol=0, atol=1e-3 * float(whole.std())
    )


@every_backbone
@torch.inference_mode()
def test_a_recorded_image_equals_itself(name):
    backbone, lq = small(name), golden_image(*SIZE)
    values = record(backbone, lq, WHOLE)
    assert (len(values) > 0) == (name in POOLING)
    ours, whole = residual(backbone, lq, WHOLE, values), backbone.head(backbone.encode(lq).latent)
    torch.testing.assert_close(ours, whole, rtol=0, atol=1e-5 * float(whole.std()))


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Backbone]:
    """A small network that looks at no neighbours: what remains is the pooling."""

    def build(name: str) -> Backbone:
        monkeypatch.setattr(frequency, "ROLL_OFF", 1e9)  # the response is flat
        monkeypatch.setattr(WindowConvolution, "forward", lambda _, pair: pair.chunk(2, 1)[0])
        backbone = small(name).double()
        kernels = [layer.weight for layer in backbone.modules() if isinstance(layer, nn.Conv2d)]
        kernels += [buffer for key, buffer in backbone.named_buffers() if "laplacian" in key]
        for kernel in kernels:
            if (size := kernel.shape[-1]) in (3, 7):
                centre = kernel[..., size // 2, size // 2].clone()
                kernel.zero_()[..., size // 2, size // 2] = 4 * centre
        return backbone

    return build


@every_pooling_backbone
@torch.inference_mode()
def test_tiles_that_cover_the_image_once_record_the_same_as_the_whole(name, blind):
    backbone = blind(name)
    lq = golden_image(128, 96).double()
    cuts = [(slice(y, y + 32), slice(x, x + 32)) for y in (0, 32, 64, 96) for x in (0, 32, 64)]
    tiles = torch.cat([lq[..., rows, columns] for rows, columns in cuts])
    boxes = torch.cat([box(*cut, (128, 96)) for cut in cuts])
    ours = record(backbone, tiles, boxes)
    whole = record(backbone, lq, WHOLE.double())
    one = record(backbone, tiles[:1], boxes[:1])
    assert len(ours) == len(whole) > 0
    for a, b in zip(ours, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
    assert not all(torch.allclose(a, b, rtol=1e-3) for a, b in zip(one, whole, strict=True))


@every_pooling_in_short
@pytest.mark.usefixtures("narrow_prompts")
@torch.inference_mode()
def test_context_keeps_zero_padding_out_of_what_is_recorded(name):
    backbone, size = small(name), (256, 256)
    lq = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    whole = record(backbone, lq, WHOLE, context=4)
    starts = (32, 96)  # tiles of 128 whose inner halves cover that of the image
    cuts = [(slice(y, y + 128), slice(x, x + 128)) for y in starts for x in starts]
    tiles = torch.cat([lq[..., rows, columns] for rows, columns in cuts])
    boxes = torch.cat([box(*cut, size) for cut in cuts]).float()

    def error(context: int) -> float:
        ours = record(backbone, tiles, boxes, context=context)
        return sum(float((a - b).norm() / b.norm()) for a, b in zip(ours, whole, strict=True))

    assert error(4) < error(0) / 3


@every_pooling_backbone
@torch.inference_mode()
def test_values_pooled_over_visible_positions_are_recorded_too(name):
    backbone, size = small(name), (64, 64)
    mask = PatchMask.random(1, size=size, generator=torch.Generator().manual_seed(0))
    lq = golden_image(*size)
    plain = backbone.encode(mask.pack(lq), mask).latent
    pool = JointPool(WHOLE)
    backbone.encode(mask.pack(lq), mask, pool)
    again = backbone.encode(mask.pack(lq), mask, RecordedPool(WHOLE, pool.values)).latent
    torch.testing.assert_close(again, plain, rtol=0, atol=1e-5 * float(plain.std()))


@every_pooling_in_short
def test_recording_and_tiles_compile_as_one_graph(name):
    backbone, lq = small(name, **two_blocks(name)), golden_image(*SIZE)
    tile, at = lq[..., :320].contiguous(), box(slice(0, 32), slice(0, 320)).float()
    compiled = [
        torch.compile(network(backbone), fullgraph=True, backend="aot_eager")
        for network in (PooledValues, TileResidual)
    ]
    with torch.no_grad():
        ours, values = compiled[0](lq, WHOLE), PooledValues(backbone)(lq, WHOLE)
        restored, eager = compiled[1](tile, at, *values), TileResidual(backbone)(tile, at, *values)
    for a, b in zip(ours, values, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(restored, eager, rtol=0, atol=1e-5 * float(eager.std()))


@pytest.mark.parametrize("size", [(8, 8), (5, 40), (64, 64), (100, 33)])
def test_a_prompt_is_stretched_over_the_image_as_without_tiles(size):
    prompt, grid = torch.rand(1, 4, 16, 16), torch.empty(1, 1, *size)
    ours = JointPool(WHOLE).stretch(prompt, grid)
    torch.testing.assert_close(ours, whole_image.stretch(prompt, grid), rtol=0, atol=1e-5)
