"""Networks built from checkpoints: what fits, and what is said of what does not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.weights.building import build, build_classifier
from maskdcpt_cli.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from tests.weights.filled import NAFNET, filled


def test_a_built_model_computes_as_the_one_that_was_saved(
    small: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(small, path)
    original = build_backbone(small.backbone, **small.options)
    original.load_state_dict(small.state_dict)
    model = build(read_checkpoint(path))
    lq = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        assert model(lq).equal(original.eval()(lq))
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_built_model_shares_no_memory_with_its_checkpoint(nafnet: Checkpoint) -> None:
    first, second = build(nafnet), build(nafnet)
    with torch.no_grad():
        first.get_parameter("intro.bias").fill_(7.0)
    assert not second.get_parameter("intro.bias").eq(7.0).any()
    assert not nafnet.state_dict["intro.bias"].eq(7.0).any()


MISFITS: dict[str, tuple[dict[str, Tensor], str]] = {
    "missing": ({}, "1 missing (intro.bias)"),
    "unexpected": (
        {"intro.bias": torch.zeros(4), "fc.bias": torch.zeros(5)},
        "1 unexpected (fc.bias)",
    ),
    "unprintable": (
        {"intro.bias": torch.zeros(4), "a\r\0b": torch.zeros(5)},
        r"1 unexpected (a\r\x00b)",
    ),
    "shape": (
        {"intro.bias": torch.zeros(3)},
        "1 of the wrong shape (intro.bias is (3,) instead of (4,))",
    ),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_tensors_that_do_not_fit_are_named(kind: str, tmp_path: Path) -> None:
    change, fault = MISFITS[kind]
    path = tmp_path / "weights.pth"
    torch.save({key: v for key, v in NAFNET.items() if key != "intro.bias"} | change, path)
    with pytest.raises(CheckpointError) as caught:
        build(read_checkpoint(path))
    assert str(caught.value).startswith(f"{path} does not fit nafnet: {fault}")


def test_many_misfits_are_counted_and_three_named(nafnet: Checkpoint) -> None:
    few = dict(list(nafnet.state_dict.items())[:4])
    missing = list(nafnet.state_dict)[4:]
    with pytest.raises(CheckpointError) as caught:
        build(replace(nafnet, state_dict=few))
    assert f"{len(missing)} missing ({', '.join(missing[:3])}, ...)" in str(caught.value)


def test_an_option_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(NAFNET, path, metadata={"options": '{"widht": 4}'})
    with pytest.raises(CheckpointError, match=r"weights\.safetensors .*'widht'.*'width'"):
        build(read_checkpoint(path))


def pre_trained(nafnet: Checkpoint) -> Checkpoint:
    torch.manual_seed(0)
    model = MaskDCPT(build(nafnet), classes=3, reconstruction=False, classifier_dims=(4, 6, 8, 8))
    assert model.classifier is not None
    return replace(
        nafnet, degradations=("H", "RS", "clean"), classifier=model.classifier.state_dict()
    )


def test_a_classifier_that_lost_a_tensor_is_named_with_it(nafnet: Checkpoint) -> None:
    whole = pre_trained(nafnet)
    rest = {key: value for key, value in whole.classifier.items() if key != "linear.bias"}
    with pytest.raises(CheckpointError, match=r"fit the classifier: 1 missing \(linear.bias\)"):
        build_classifier(replace(whole, classifier=rest))


def test_a_classifier_of_another_form_is_named(nafnet: Checkpoint) -> None:
    whole = pre_trained(nafnet)
    few = {"linear.weight": torch.zeros(3, 8)}
    with pytest.raises(CheckpointError, match=r"has a classifier that does not work: .* 0 stages"):
        build_classifier(replace(whole, classifier=few))
    with pytest.raises(CheckpointError, match=r"has a classifier .* lacks 'linear.weight'"):
        build_classifier(replace(whole, classifier={"scales": torch.zeros(2)}))


def test_a_classifier_whose_classes_have_no_names_is_refused(nafnet: Checkpoint) -> None:
    whole = replace(pre_trained(nafnet), degradations=("H", "RS"))
    with pytest.raises(CheckpointError, match="of 3 classes, but lists 2 degradations"):
        build_classifier(whole)


def test_a_network_that_can_be_asked_knows_the_names_of_its_requests(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    asked = replace(filled("nafnet-instruct"), degradations=("H", "clean", "RS", "MB"))
    save_checkpoint(asked, path)
    model = build(read_checkpoint(path))
    assert (model.request_types, model.requests) == (3, ("H", "RS", "MB"))
    assert build(replace(asked, degradations=())).requests == ()
    assert build(replace(filled("nafnet"), degradations=("H", "RS", "MB"))).requests == ()


def test_a_network_that_can_be_asked_for_other_types_than_are_listed_is_refused() -> None:
    asked = replace(filled("restormer-instruct"), degradations=("H", "RS"))
    with pytest.raises(CheckpointError, match="conditioned on 3 types, but lists 2 degradations"):
        build(asked)
