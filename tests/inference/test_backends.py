"""Engines: the same pixels everywhere, and a clear sentence for what is not available."""

import subprocess
import sys
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from maskdcpt_cli.errors import BackendError
from maskdcpt_cli.inference import backends
from maskdcpt_cli.inference.backends import BACKENDS, Engine, open_engine
from maskdcpt_cli.inference.backends.memory import activation_bytes
from maskdcpt_cli.models import BACKBONES, Backbone
from maskdcpt_cli.weights.zoo import load_model
from tests.golden import golden_image
from tests.small import IN_SHORT, NETWORKS, calm, small, two_blocks

pytestmark = pytest.mark.usefixtures("narrow_prompts")

SIZES = [(64, 64), (48, 80), (1, 1), (37, 23)]


def needs(backend: str) -> None:
    for package in BACKENDS[backend].packages:
        pytest.importorskip(package)


def example(size: tuple[int, int], *, batch: int = 1) -> Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def restored_by(model: Backbone, lq: Tensor) -> Tensor:
    with torch.inference_mode():
        restored: Tensor = model(lq)
    return restored


def psnr(restored: Tensor, reference: Tensor) -> float:
    return float(-10 * torch.log10((restored - reference).square().mean()))


@pytest.mark.parametrize("name", IN_SHORT)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_gives_the_pixels_of_the_network(backend: str, name: str) -> None:
    needs(backend)
    model = calm(name)
    expected = {size: restored_by(model, example(size)) for size in SIZES}
    engine = open_engine(model, device="cpu", precision="fp32", backend=backend)
    for size in (*SIZES, SIZES[0]):  # a size may be treated otherwise when it comes again
        restored = engine(example(size))
        assert restored.dtype == torch.float32
        torch.testing.assert_close(restored, expected[size], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", IN_SHORT)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_restores_tiles_by_what_it_recorded(backend: str, name: str) -> None:
    needs(backend)
    model = calm(name, **two_blocks(name))
    samples = example((64, 64), batch=4)
    corners = torch.tensor([[0, 0], [0, 0.5], [0.5, 0], [0.5, 0.5]])
    boxes = torch.cat([corners, torch.full((4, 2), 0.5)], dim=1)
    expected = open_engine(model, device="cpu", precision="fp32", backend="torch")
    engine = open_engine(model, device="cpu", precision="fp32", backend=backend)
    for some in (slice(0, 4), slice(1, 3)):
        ours = engine.record(samples[some], boxes[some])
        theirs = expected.record(samples[some], boxes[some])
        for lq, box in ((samples[:1], boxes[:1]), (example((96, 64)), boxes[3:])):
            torch.testing.assert_close(ours(lq, box), theirs(lq, box), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("name", "backend"), [*product(NETWORKS, ["torch"]), *product(BACKBONES, ["openvino"])]
)
def test_tiles_in_bf16_are_near_those_in_fp32(name: str, backend: str) -> None:
    needs(backend)
    lq, box = example((64, 64)), torch.tensor([[0.5, 0.25, 0.5, 0.75]])
    model = calm(name, **two_blocks(name))
    engine = open_engine(model, device="cpu", precision="bf16", backend=backend)
    restored, expected = (one.record(lq, box)(lq, box) for one in (engine, engine.in_fp32()))
    assert psnr(restored, expected) > psnr(lq, expected) + 15


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_gives_what_its_images_give(backend: str) -> None:
    needs(backend)
    model = calm("nafnet", **two_blocks("nafnet"))
    engine = open_engine(model, device="cpu", precision="fp32", backend=backend)
    lq = example((40, 24), batch=3)
    one_by_one = torch.cat([engine(lq[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(engine(lq), one_by_one, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_memory_layout_of_the_input_does_not_matter(backend: str) -> None:
    needs(backend)
    model = calm("nafnet", **two_blocks("nafnet"))
    engine = open_engine(model, device="cpu", precision="fp32", backend=backend)
    lq = example((32, 48))
    as_in_a_file = lq.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    torch.testing.assert_close(engine(as_in_a_file), engine(lq), atol=1e-5, rtol=0)
    turned = lq.mT.contiguous().mT
    torch.testing.assert_close(engine(turned), engine(lq), atol=1e-5, rtol=0)


def dark_and_noisy() -> Tensor:
    """The most demanding inputs of a network."""
    return (0.08 * golden_image(96, 64) + 0.01 * (example((96, 64)) - 0.5)).clip(0, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_auto_takes_stays_within_50_db_of_fp32(backend: str) -> None:
    needs(backend)
    model = load_model("tiny")
    lq = dark_and_noisy()
    expected = restored_by(model, lq)
    assert psnr(lq, expected) < 20
    assert psnr(open_engine(model, device="cpu", backend=backend)(lq), expected) > 50


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bf16_errs_by_a_twentieth_of_what_the_network_changes_at_most(backend: str) -> None:
    needs(backend)
    model = load_model("tiny")
    lq = dark_and_noisy()
    expected = restored_by(model, lq)
    engine = open_engine(model, device="cpu", precision="bf16", backend=backend)
    assert psnr(engine(lq), expected) > psnr(lq, expected) + 26


@pytest.mark.parametrize("name", NETWORKS)
def test_what_bf16_spoils_can_be_done_again_in_fp32(name: str) -> None:
    model = calm(name)
    lq = example((40, 24))
    expected = restored_by(model, lq)
    engine = open_engine(model, device="cpu", precision="bf16", backend="torch")
    assert engine(lq).dtype == torch.float32
    assert not torch.equal(engine(lq), expected)
    assert engine.in_fp32().describe() == "torch on cpu, fp32"
    torch.testing.assert_close(engine.in_fp32()(lq), expected, atol=1e-5, rtol=0)


def test_an_engine_in_fp32_is_its_own_fallback() -> None:
    engine = open_engine(calm("nafnet"), device="cpu", precision="fp32", backend="torch")
    assert engine.in_fp32() is engine


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_that_is_not_installed_says_what_to_install(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    if backend == "torch":
        assert open_engine(small("nafnet"), device="cpu").backend == "torch"
    else:
        with pytest.raises(BackendError, match=rf"pip install 'maskdcpt\[{backend}\]'"):
            open_engine(small("nafnet"), device="cpu", backend=backend)


def test_auto_takes_pytorch_in_fp32_on_the_cpu() -> None:
    engine = open_engine(small("nafnet"), device="cpu")
    assert (engine.backend, engine.precision) == ("torch", "fp32")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine one with these GPUs, of CUDA's two."""

    def pretend(*kinds: str) -> None:
        for kind in ("cuda", "mps"):
            monkeypatch.setitem(backends.DEVICES, kind, lambda kind=kind: kind in kinds)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))

    return pretend


@pytest.mark.parametrize(
    ("kinds", "expected"), [((), "cpu"), (("mps",), "mps"), (("cuda", "mps"), "cuda")]
)
def test_auto_takes_a_gpu_before_the_cpu(
    kinds: tuple[str, ...],
    expected: str,
    gpus: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus(*kinds)
    opened = pretend_to_open(monkeypatch)
    open_engine(small("nafnet"), backend="torch")
    assert opened["device"] == expected
    assert opened["precision"] == ("fp16" if expected == "cuda" else "fp32")


def pretend_to_open(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The arguments that an engine is opened with, without opening it."""
    opened: dict[str, str] = {}

    def init(self: Engine, model: Backbone, *, device: str, precision: str) -> None:
        opened.update(device=device, precision=precision)

    monkeypatch.setattr(BACKENDS["torch"].load(), "__init__", init)
    return opened


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1", "cuda"])
def test_a_device_may_be_named(
    device: str, gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus("cuda")
    opened = pretend_to_open(monkeypatch)
    open_engine(small("nafnet"), device=device, precision="bf16")
    assert opened == {"device": device, "precision": "bf16"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu:1"}, r"^Unknown device 'cpu:1'\. Did you mean 'cpu'\?"),
        ({"device": "cuda:x"}, r"^Unknown device 'cuda:x'\."),
        ({"device": "gpu"}, r"^Unknown device 'gpu'\."),
        ({"device": "mps"}, r"^The device 'mps' is not available here"),
        ({"device": "cuda:2"}, r"^There is no device 'cuda:2': the last one is 'cuda:1'\."),
        ({"device": "cuda", "backend": "onnx"}, r"^The backend 'onnx' runs on the CPU, not on"),
        ({"device": "cpu", "backend": "onyx"}, r"^Unknown backend 'onyx'\. Did you mean 'onnx'\?"),
        ({"device": "cpu", "precision": "fp64"}, r"^Unknown precision 'fp64'\."),
        (
            {"device": "cpu", "precision": "fp16", "backend": "torch"},
            r"^The backend 'torch' does not run in fp16 on 'cpu': choose from: auto, fp32, bf16\.",
        ),
        (
            {"device": "cpu", "precision": "tf32", "backend": "torch"},
            r"^The backend 'torch' does not run in tf32 on 'cpu': choose from: auto, fp32, bf16\.",
        ),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else "",
)
def test_what_is_not_available_is_refused_in_a_sentence(
    options: dict[str, str],
    message: str,
    gpus: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus("cuda")
    monkeypatch.setattr(backends, "find_spec", lambda _: True)
    with pytest.raises(BackendError, match=message):
        open_engine(small("nafnet"), **options)


def test_tf32_is_of_cuda_alone(gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus("cuda", "mps")
    opened = pretend_to_open(monkeypatch)
    open_engine(small("nafnet"), device="cuda:1", precision="tf32")
    assert opened["precision"] == "tf32"
    with pytest.raises(BackendError, match=r"tf32 on 'mps': choose from: auto, fp32, bf16, fp16\."):
        open_engine(small("nafnet"), device="mps", precision="tf32")


def test_activations_are_counted_while_they_live() -> None:
    plane = 32 * 32 * 4  # bytes of one channel
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 16, 1), torch.nn.Conv2d(16, 2, 1)
    )
    assert activation_bytes(layers, 32) == (3 + 8 + 16) * plane


@pytest.mark.parametrize("name", NETWORKS)
def test_the_memory_of_a_pass_grows_with_the_tile_and_is_never_nothing(name: str) -> None:
    engine = open_engine(small(name), device="cpu", backend="torch")
    assert engine.peak_bytes(128) > 128 * 128 * 3 * 4
    assert engine.peak_bytes(256) == pytest.approx(4 * engine.peak_bytes(128), rel=1e-3)


def test_no_compiler_is_imported_to_choose_tiles() -> None:
    code = (
        "import sys\n"
        "from maskdcpt_cli.inference.backends import open_engine\n"
        "from maskdcpt_cli.inference.tile_size import choose_samples, choose_tile\n"
        "from tests.small import NETWORKS, small\n"
        "for name in NETWORKS:\n"
        "    engine = open_engine(small(name), device='cpu', backend='torch')\n"
        "    choose_tile(engine, (3000, 4000)), choose_samples(engine), engine.pooled_shapes\n"
        "print({'torch._dynamo', 'sympy'} & set(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_signals_are_survived_after_engines_have_gone() -> None:
    needs("openvino")
    code = (
        "import os, signal, torch\n"
        "from maskdcpt_cli.inference.backends import open_engine\n"
        "from maskdcpt_cli.models import build_backbone\n"
        "few = {'enc_blk_nums': (1,), 'middle_blk_num': 0, 'dec_blk_nums': (1,)}\n"
        "model = build_backbone('nafnet', width=4, **few)\n"
        "first, second = (open_engine(model, device='cpu', backend='openvino') for _ in range(2))\n"
        "for engine in (first, second):\n"
        "    engine.residual(torch.zeros(1, 3, 64, 64))\n"
        "del engine, first\n"
        "del second\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "handled\n")
