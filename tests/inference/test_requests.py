"""Engines with a request of what to remove."""

from itertools import product

import pytest
import torch
from torch import Tensor

from maskdcpt_cli.inference.backends import BACKENDS, open_engine
from maskdcpt_cli.inference.self_ensemble import Eightfold
from tests.inference.test_backends import example, needs, psnr
from tests.inference.test_tiling import Halves
from tests.small import calm, two_blocks

ASKED = [
    pytest.param(
        name,
        backend,
        marks=[] if name == "nafnet-instruct" or backend == "torch" else pytest.mark.slow,
    )
    for name, backend in product(["nafnet-instruct", "restormer-instruct"], BACKENDS)
]
REQUESTS = [torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]])]
BOXES = torch.tensor([[0, 0, 0.5, 0.5], [0.5, 0, 0.5, 0.5]])


def differ(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().mean() > 1e-5)


@pytest.mark.parametrize(("name", "backend"), ASKED)
@torch.inference_mode()
def test_every_backend_does_what_the_network_is_asked(name: str, backend: str) -> None:
    needs(backend)
    model = calm(name, **two_blocks(name))
    engine = open_engine(model, device="cpu", precision="fp32", backend=backend)
    results = []
    for request in (*REQUESTS, None):
        network = engine.with_request(request)
        for lq in (example((37, 23), batch=2), example((48, 80))):
            restored = network(lq)
            torch.testing.assert_close(restored, model(lq, request), atol=1e-3, rtol=0)
        results.append(restored)
    assert torch.equal(engine(lq), results[-1])
    assert all(differ(results[i], results[i + 1]) for i in (-1, 0, 1))
    assert torch.equal(engine.with_request(torch.zeros(1, 3))(lq), lq)


@pytest.mark.parametrize(("name", "backend"), ASKED)
def test_tiles_get_the_request_that_their_values_were_recorded_with(
    name: str, backend: str
) -> None:
    needs(backend)
    model = calm(name, **two_blocks(name))
    tiles, lq = example((64, 64), batch=2), example((96, 64))
    expected = open_engine(model, device="cpu", precision="fp32", backend="torch")
    engine = open_engine(model, device="cpu", precision="fp32", backend=backend)
    results = []
    for request in (*REQUESTS, None):
        ours, theirs = (
            one.with_request(request).record(tiles, BOXES)(lq, BOXES[1:])
            for one in (engine, expected)
        )
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)
        results.append(ours)
    assert torch.equal(engine.record(tiles, BOXES)(lq, BOXES[1:]), results[-1])
    assert all(differ(results[i], results[i + 1]) for i in (-1, 0, 1))


def test_a_photo_in_tiles_is_as_in_one_piece_whatever_is_asked() -> None:
    engine = open_engine(calm("nafnet-instruct"), device="cpu", backend="torch")
    for request in REQUESTS:
        assert Halves(engine.with_request(request)).step() < 0.1 / 255


@pytest.mark.parametrize("name", ["nafnet-instruct", "restormer-instruct"])
def test_half_precision_and_what_is_done_again_in_fp32_get_the_request(name: str) -> None:
    model, lq = calm(name), example((40, 24))
    engine = open_engine(model, device="cpu", precision="bf16", backend="torch")
    for request in REQUESTS:
        with torch.inference_mode():
            expected = model(lq, request)
        assert psnr(engine.with_request(request)(lq), expected) > psnr(lq, expected) + 15
        again = engine.in_fp32().with_request(request)
        torch.testing.assert_close(again(lq), expected, atol=1e-5, rtol=0)


def test_all_turns_of_the_ensemble_get_the_request() -> None:
    engine = open_engine(calm("nafnet-instruct"), device="cpu", backend="torch")
    lq = example((40, 24))
    asked, everything = (
        Eightfold(engine.with_request(request))(lq) for request in (REQUESTS[1], None)
    )
    assert differ(asked, everything)
    torch.testing.assert_close(
        asked, Eightfold(engine.with_request(REQUESTS[1]))(lq.flip(-1)).flip(-1)
    )


@pytest.mark.parametrize("request_", [torch.ones(1, 5), torch.ones(3)])
def test_a_request_of_other_types_is_refused(request_: Tensor) -> None:
    engine = open_engine(calm("nafnet-instruct"), device="cpu", backend="torch")
    with pytest.raises(ValueError, match=r"can be asked for 3 types, and the request is \("):
        engine.with_request(request_)


def test_one_request_holds_for_all_images() -> None:
    engine = open_engine(calm("nafnet-instruct"), device="cpu", backend="torch")
    with pytest.raises(ValueError, match=r"one request for all images, \(1, 3\), .* is \(2, 3\)\."):
        engine.with_request(torch.ones(2, 3))


def test_a_network_that_cannot_be_asked_takes_no_request() -> None:
    engine = open_engine(calm("nafnet"), device="cpu", backend="torch")
    assert torch.equal(engine.with_request(None)(example((40, 24))), engine(example((40, 24))))
    with pytest.raises(ValueError, match="cannot be asked what to remove"):
        engine.with_request(torch.ones(1, 3))
