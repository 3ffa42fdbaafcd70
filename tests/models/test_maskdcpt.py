"""The contract of the pre-training model for every backbone: walks NETWORKS."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.models.classifier import Classifier
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.models.masking import PatchMask, apply
from maskdcpt_cli.weights.zoo import ZOO
from tests.golden import golden_image
from tests.small import ARCHITECTURES, IN_SHORT, NETWORKS, backbone_of, small, two_blocks

SIZE = (32, 64)


def every(names):
    """Walk these networks, PromptIR with narrow prompts."""
    walked = pytest.mark.parametrize("name", names)
    return lambda test: pytest.mark.usefixtures("narrow_prompts")(walked(test))


every_backbone = every(NETWORKS)
every_in_short = every(IN_SHORT)
ON_GRIDS = {
    "random": {},
    "square": {"method": "square"},
    "block-wise": {"method": "block-wise"},
    "pixels": {"patch_size": 1},
    "patches of 4": {"patch_size": 4},
    "patches of 32": {"patch_size": 32},
    "nothing hidden": {"mask_ratio": 0.0},
    "no mask": None,
}
every_mask = pytest.mark.parametrize("options", ON_GRIDS.values(), ids=ON_GRIDS)


def model_of(name: str, **options: object) -> MaskDCPT:
    """With a narrow classifier: the paper's is larger than all else here."""
    torch.manual_seed(0)
    model = MaskDCPT(small(name, **options), classes=5, classification=False)
    finest_first = model.backbone.feature_dims[::-1]
    model.classifier = Classifier(finest_first, classes=5, dims=(16, 16, 32, 32))
    return model


def draw(options, *, seed: int = 0):
    """A mask, or `apply` for None."""
    if options is None:
        return apply
    generator = torch.Generator().manual_seed(seed)
    return PatchMask.draw(
        **{"method": "random", "batch": 2, "size": SIZE, **options}, generator=generator
    )


def pixels_of(mask: PatchMask) -> torch.Tensor:
    """(B, 1, H, W), true where a pixel is visible."""
    return mask.unpack(mask.pack(torch.ones(2, 1, *mask.size))).bool()


def gradients(model: MaskDCPT, run) -> dict[str, torch.Tensor | None]:
    output = run(golden_image(*SIZE, 2))
    (output.reconstructed.square().mean() + output.logits.square().mean()).backward()
    return {key: p.grad for key, p in model.named_parameters() if p.requires_grad}


@every_backbone
@pytest.mark.parametrize("patch_size", [1, 4, 16, 32])
def test_hidden_pixels_do_not_matter(name, patch_size):
    model, lq, mask = model_of(name), golden_image(*SIZE, 2), draw({"patch_size": patch_size})
    noise = torch.rand(lq.shape, generator=torch.Generator().manual_seed(1))
    visible = pixels_of(mask)
    with torch.inference_mode():
        ours = model(lq, mask)
        other = model(torch.where(visible, lq, noise), mask)
        seen = model(torch.where(visible, noise, lq), mask)
    for a, b, c in zip(ours, other, seen, strict=True):
        assert torch.equal(a, b)
        assert not torch.allclose(a, c, atol=1e-6)


@every_backbone
def test_the_classifier_never_sees_the_image(name):
    """With features that know nothing of the image, its logits know nothing of it either."""
    model, mask = model_of(name), draw({})
    known = model.backbone.encode(mask.pack(golden_image(*SIZE, 2)), mask)
    model.backbone.encode = lambda *_: known
    with torch.inference_mode():
        first = model(golden_image(*SIZE, 2), mask).logits
        assert torch.equal(first, model(torch.rand(2, 3, *SIZE), mask).logits)


@every_backbone
def test_nothing_hidden_equals_no_mask(name):
    model, lq = model_of(name), golden_image(*SIZE, 2)
    with torch.inference_mode():
        for a, b in zip(model(lq), model(lq, draw({"mask_ratio": 0.0})), strict=True):
            assert torch.allclose(a, b, atol=1e-5)


@every_backbone
@every_mask
def test_every_parameter_that_is_trained_receives_a_gradient(name, options):
    model = model_of(name)
    for key, gradient in gradients(model, lambda lq: model(lq, draw(options))).items():
        assert gradient is not None, key
        assert torch.isfinite(gradient).all(), key


@every_backbone
def test_what_follows_the_features_is_frozen_and_nothing_else(name):
    model = model_of(name)
    frozen = [key for key, p in model.named_parameters() if not p.requires_grad]
    assert frozen
    assert {key.split(".")[1] for key in frozen} == set(model.backbone.beyond_features)


@every_backbone
def test_parameters_are_the_encoder_s_and_the_decoders(name):
    model = model_of(name)
    trained = [p for p in model.parameters() if p.requires_grad]
    encoder = [p for p in model.backbone.parameters() if p.requires_grad]
    parts = [*encoder, *model.decoder_parameters()]
    assert {id(p) for p in parts} == {id(p) for p in trained}
    assert len(parts) == len(trained)


@every_backbone
def test_a_decoder_can_be_left_out(name):
    lq, mask = golden_image(*SIZE, 2), draw({})
    for left_out in ("reconstruction", "classification"):
        model = MaskDCPT(small(name), classes=5, **{left_out: False})
        output = model(lq, mask)
        kept = output.logits if left_out == "reconstruction" else output.reconstructed
        assert (output.reconstructed is None) is (left_out == "reconstruction")
        assert (output.logits is None) is (left_out == "classification")
        kept.sum().backward()
        trained = (p for p in model.backbone.parameters() if p.requires_grad)
        assert all(p.grad is not None for p in trained)


@every_backbone
def test_features_are_described(name):
    backbone = small(name)
    with torch.inference_mode():
        features = backbone.encode(golden_image(*SIZE)).features
    assert tuple(f.shape[1] for f in features) == backbone.feature_dims
    assert tuple(SIZE[0] // f.shape[2] for f in features) == backbone.feature_scales


def test_unshuffled_nafnet_draws_the_whole_image():
    model = MaskDCPT(small("nafnet", unshuffle=2), classes=3)
    output = model(golden_image(*SIZE, 2), draw({}))
    assert output.reconstructed.shape == (2, 3, *SIZE)
    assert output.logits.shape == (2, 3)


@every_backbone
def test_gradients_under_activation_checkpointing_are_equal(name):
    model, again, mask = model_of(name), model_of(name), draw({})
    plain = gradients(model, lambda lq: model(lq, mask))
    saved = gradients(again, lambda lq: checkpoint(again, lq, mask, use_reentrant=False))
    for key, gradient in plain.items():
        assert torch.equal(gradient, saved[key]), key


@every_backbone
def test_bfloat16_gives_about_the_same(name):
    model, lq, mask = model_of(name), golden_image(*SIZE, 2), draw({})
    with torch.inference_mode():
        exact = model(lq, mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ours = model(lq, mask)
    for a, b in zip(ours, exact, strict=True):
        assert (a - b).abs().mean() < 0.05 * b.abs().mean()


@every_in_short
def test_compiles_as_one_graph_for_every_draw(name):
    model, lq, graphs = model_of(name, **two_blocks(name)), golden_image(*SIZE, 2), []

    def count(graph, _inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(model, fullgraph=True, backend=count)
    with torch.no_grad():
        for seed in range(2):
            mask = draw({}, seed=seed)
            for ours, eager in zip(compiled(lq, mask), model(lq, mask), strict=True):
                assert torch.allclose(ours, eager, atol=1e-5)
    assert len(graphs) == 1


@every_in_short
def test_loss_falls_on_one_batch_at_hidden_places_too(name):
    model, mask = model_of(name), draw({})
    gt = golden_image(*SIZE, 2)
    lq, labels = (gt + 0.1 * torch.randn(gt.shape)).clamp(0, 1), torch.tensor([0, 1])
    lq[1] = 0.4 * gt[1]
    hidden = ~pixels_of(mask).expand_as(gt)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)

    def step() -> tuple[float, float, float]:
        output = model(lq, mask)
        error = (output.reconstructed - gt).abs()
        named = F.cross_entropy(output.logits, labels)
        optimizer.zero_grad()
        (error.mean() + named).backward()
        optimizer.step()
        return error[~hidden].mean().item(), error[hidden].mean().item(), named.item()

    first = step()
    last = [step() for _ in range(12)][-1]
    for before, after in zip(first, last, strict=True):
        assert after < 0.5 * before


@pytest.mark.parametrize("name", sorted({model.backbone for model in ZOO.values()}))
def test_reconstruction_is_light(name):
    """Less than 10 % of the released backbone's multiply-accumulates at the crop of the paper."""
    with torch.device("meta"):
        options = ARCHITECTURES.get(name, {})
        backbone = build_backbone(backbone_of(name), **options)
        model = MaskDCPT(backbone, classes=12, classification=False)
        lq = torch.empty(1, 3, 256, 256)
    with torch.no_grad(), FlopCounterMode(display=False) as whole:
        model(lq)
    with torch.no_grad(), FlopCounterMode(display=False) as backbone:
        model.backbone.encode(lq)
    assert whole.get_total_flops() < 1.1 * backbone.get_total_flops()
