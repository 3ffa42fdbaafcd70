"""Precisions of PyTorch: weights in half precision, fp32 that is fp32, and TF32 by its name."""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from maskdcpt_cli.inference.backends import open_engine
from maskdcpt_cli.inference.backends.engine import Residual
from maskdcpt_cli.inference.backends.fp32 import tf32
from maskdcpt_cli.inference.backends.half_precision import convert_to_half
from maskdcpt_cli.inference.backends.pytorch import DTYPES, TorchEngine
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.models.layers import AcrossChannels, ChannelAttention, ChannelCrossAttention
from maskdcpt_cli.weights.zoo import load_model
from tests.golden import golden_image
from tests.inference.test_backends import dark_and_noisy, psnr, restored_by
from tests.small import calm, small


def in_half(name: str, lq: Tensor, dtype: torch.dtype) -> Tensor:
    model = load_model("tiny") if name == "tiny" else calm(name)
    network = convert_to_half(model.eval(), dtype)
    with torch.inference_mode():
        residual: Tensor = Residual(network)(lq.to(dtype))
    return lq + residual.float()


# In dB. The small networks have random weights: Restormer's reach 49 dB in fp16, 50 under autocast.
LEAST = {
    (torch.float16, "nafnet"): 55,
    (torch.float16, "promptir"): 65,
    (torch.float16, "restormer"): 48,
    (torch.float16, "swinir"): 65,
    (torch.float16, "tiny"): 66,
    (torch.bfloat16, "nafnet"): 42,
    (torch.bfloat16, "promptir"): 50,
    (torch.bfloat16, "restormer"): 33,
    (torch.bfloat16, "swinir"): 50,
    (torch.bfloat16, "tiny"): 48,
}


@pytest.mark.parametrize("name", [*BACKBONES, "tiny"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_stay_near_fp32(dtype: torch.dtype, name: str) -> None:
    model = load_model("tiny") if name == "tiny" else calm(name)
    for lq in (golden_image(96, 96), dark_and_noisy()):
        assert psnr(in_half(name, lq, dtype), restored_by(model, lq)) > LEAST[dtype, name]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [ChannelAttention, ChannelCrossAttention])
def test_channel_attention_of_large_maps_neither_overflows_nor_divides_by_zero(
    dtype: torch.dtype, kind: type[AcrossChannels]
) -> None:
    attention = kind(8, heads=2, bias=False)
    q, k = torch.rand(2, 1, 8, 256, 256) * 1000  # norms of 150,000: fp16 ends at 65,504
    q[:, 3] = 0
    expected = attention.attention(q, k)
    half = convert_to_half(nn.Sequential(copy.deepcopy(attention)), dtype)[0]
    found = half.attention(q.to(dtype), k.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=5e-3, rtol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_half_precision_keeps_the_keys_of_the_weights(name: str) -> None:
    model = small(name)
    converted = convert_to_half(copy.deepcopy(model), torch.float16).state_dict()
    assert {key: value.shape for key, value in converted.items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
    assert {value.dtype for value in converted.values()} == {torch.float16}


def settings() -> tuple[object, ...]:
    return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("before", [(True, "highest"), (False, "medium"), (True, "high")])
def test_tf32_is_set_for_our_networks_alone(
    allowed: bool, before: tuple[bool, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before[0])
    with matmul_precision(before[1]):
        with tf32(allowed=allowed):
            assert settings() == (allowed, "high" if allowed else "highest")
        assert settings() == before


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="before PyTorch 2.9")
@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_set_too_where_a_program_uses_the_newer_names(allowed: bool) -> None:
    conv, rnn = torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    before = conv.fp32_precision, rnn.fp32_precision
    conv.fp32_precision, rnn.fp32_precision = "ieee", "tf32"
    try:
        with tf32(allowed=allowed):
            assert conv.fp32_precision == ("tf32" if allowed else "ieee")
        assert (conv.fp32_precision, rnn.fp32_precision) == ("ieee", "tf32")
    finally:
        conv.fp32_precision, rnn.fp32_precision = before


@pytest.mark.parametrize(
    ("precision", "expected"), [("fp32", (False, "highest")), ("tf32", (True, "high"))]
)
def test_fp32_on_cuda_is_fp32_and_tf32_has_a_name_of_its_own(
    precision: str, expected: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TorchEngine(small("nafnet"), device="cpu", precision=precision)
    monkeypatch.setattr(engine, "_kind", "cuda")
    seen: list[object] = []
    monkeypatch.setattr(engine._network, "head", lambda latent: seen.append(settings()) or latent)
    engine._run(Residual(engine._network), torch.rand(1, 3, 16, 16))
    assert seen == [expected]
    assert engine.in_fp32().precision == "fp32"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", [*BACKBONES, "tiny"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_a_gpu_gives_the_pixels_of_the_cpu(precision: str, name: str) -> None:
    least = {"fp32": 90, "tf32": 48}.get(precision) or LEAST[DTYPES[precision], name]
    model = load_model("tiny") if name == "tiny" else calm(name)
    for lq in (golden_image(96, 96), dark_and_noisy()):
        engine = open_engine(model, device="cuda", precision=precision)
        assert psnr(engine(lq), restored_by(model, lq)) > least


def test_one_thread_at_a_time_sets_the_arithmetic_of_the_process() -> None:
    second = threading.Event()

    def set_too() -> None:
        with tf32(allowed=True):
            second.set()

    with tf32(allowed=False):
        thread = threading.Thread(target=set_too)
        thread.start()
        assert not second.wait(0.1)
        assert settings() == (False, "highest")
    thread.join()
    assert second.is_set()


@pytest.mark.parametrize(("capability", "expected"), [((6, 1), "fp32"), ((7, 0), "fp16")])
def test_auto_is_fp16_on_cards_that_compute_fast_in_it(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert TorchEngine.fast_precision("cuda:1") == expected
