import pytest
import torch

from maskdcpt_cli.models.classifier import Classifier, Standardise
from maskdcpt_cli.models.masking import PatchMask

SIZE = (64, 96)
DIMS = (8, 8, 16, 16)  # of the stages


def features_of(dims, *, batch: int = 2) -> list[torch.Tensor]:
    """Random features, each of half the resolution of the one before."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.rand(batch, dim, SIZE[0] >> i, SIZE[1] >> i, generator=generator)
        for i, dim in enumerate(dims)
    ]


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return Classifier((4, 6, 8), classes=5, dims=DIMS)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_one_to_four_features_give_a_score_for_each_class(count):
    dims = (4, 6, 8, 10)[:count]
    logits = Classifier(dims, classes=5, dims=DIMS)(features_of(dims))
    assert logits.shape == (2, 5)


def test_more_features_than_stages_are_refused():
    with pytest.raises(ValueError, match="takes 1 to 4 features, but this backbone has 5"):
        Classifier((4,) * 5, classes=5)


def test_stages_are_those_of_resnet_18():
    stages = Classifier((64, 128, 256, 512), classes=5).stages
    strides = [[block.conv1.stride[0] for block in stage.blocks] for stage in stages]
    assert strides == [[1, 2], [1, 2], [1, 2], [1, 1]]
    assert [stage.blocks[0].conv1.in_channels for stage in stages] == [64, 128, 256, 512]


def test_scales_weigh_the_features(classifier):
    features = features_of((4, 6, 8))
    with torch.no_grad():
        classifier.scales.copy_(torch.tensor([0.0, 50.0, 0.0]))
        logits = classifier(features)
        for i, matters in enumerate([False, True, False]):
            changed = [f.flip(-1) if j == i else f for j, f in enumerate(features)]
            assert torch.allclose(logits, classifier(changed), atol=1e-6) is not matters


def test_all_visible_equals_dense(classifier):
    features = features_of((4, 6, 8))
    mask = PatchMask.draw("random", 2, size=SIZE, mask_ratio=0.0)
    assert torch.equal(classifier(features, mask), classifier(features))


@pytest.mark.parametrize("patch_size", [1, 4, 16, 32])
def test_hidden_features_do_not_matter(classifier, patch_size):
    generator = torch.Generator().manual_seed(0)
    mask = PatchMask.draw("random", 2, size=SIZE, patch_size=patch_size, generator=generator)
    features = features_of((4, 6, 8))
    kept = [mask.unpack(mask.pack(feature)) for feature in features]
    packed = [mask.pack(feature) for feature in features]
    assert torch.equal(classifier(packed, mask), classifier(list(map(mask.pack, kept)), mask))
    assert not torch.allclose(classifier(packed, mask), classifier(features))


@pytest.mark.parametrize("side", [16, 40, 72])
def test_stages_meet_at_sizes_that_do_not_halve_evenly(classifier, side):
    features = [torch.rand(1, dim, side >> i, side >> i) for i, dim in enumerate((4, 6, 8))]
    assert classifier(features).shape == (1, 5)


def test_learns_to_tell_two_kinds_of_features_apart(classifier):
    features, labels = features_of((4, 6, 8), batch=4), torch.tensor([0, 1, 0, 1])
    for feature in features:
        feature[1::2] *= 2
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(classifier(features), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert classifier(features).argmax(dim=1).tolist() == labels.tolist()


def test_faint_detail_counts_however_bright_the_feature(classifier):
    features = features_of((4, 6, 8))
    bright = [100 + feature / 10 for feature in features]
    assert torch.allclose(classifier(features), classifier(bright), atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_in_half_precision_may_be_far_apart(dtype):
    x = 1000 * features_of((4,))[0].requires_grad_()
    expected, half = Standardise()(x), Standardise()(x.to(dtype))
    assert half.dtype == dtype
    assert torch.allclose(half.float(), expected, atol=0.05)
    (gradient,) = torch.autograd.grad(half.float().square().sum(), x)
    assert gradient.isfinite().all()


def test_flat_features_have_a_finite_gradient(classifier):
    features = [
        torch.full_like(feature, 0.5).requires_grad_() for feature in features_of((4, 6, 8))
    ]
    classifier(features).sum().backward()
    for tensor in (*features, *classifier.parameters()):
        assert tensor.grad is None or tensor.grad.isfinite().all()
