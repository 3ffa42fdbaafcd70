"""Compiled networks: for sizes that come often, with a notice, and never at the cost of a photo."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskdcpt_cli.inference.backends.compiling import (
    CACHE,
    COMPILED_SIZES,
    CompiledWhereOften,
    Run,
    compile_by_pytorch,
)
from maskdcpt_cli.inference.backends.engine import PooledValues, Residual, TileResidual
from maskdcpt_cli.inference.backends.pytorch import TorchEngine
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.restore import restore
from maskdcpt_cli.models import BACKBONES
from tests.inference.brighten import ramp
from tests.small import calm, small, two_blocks


class Compiler:
    """A compiler that only counts; its networks fail with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.compiled = 0
        self.runs = 0

    def __call__(self, network: nn.Module) -> Run:
        self.compiled += 1

        def run(*inputs: Tensor) -> Tensor:
            self.runs += 1
            if self.error:
                raise self.error
            restored: Tensor = network(*inputs)
            return restored

        return run


def often(compiler: Callable[[nn.Module], Run], *, after: int) -> CompiledWhereOften:
    return CompiledWhereOften(nn.Identity(), compiler, after=after, notices=[])


def test_a_size_is_compiled_once_it_has_had_so_many_pixels() -> None:
    compiler = Compiler()
    run = often(compiler, after=3 * 64 * 64)
    for _ in range(3):
        run(torch.rand(1, 3, 64, 64))
        run(torch.rand(1, 3, 32, 64))
    assert compiler.compiled == 0
    run(torch.rand(1, 3, 32, 64))
    assert compiler.compiled == 0
    for _ in range(5):
        run(torch.rand(1, 3, 64, 64))
    assert (compiler.compiled, compiler.runs) == (1, 5)
    (notice,) = run.notices
    assert notice.startswith("PyTorch compiled the network for 64x64 pixels in 0 s")


def test_only_so_many_sizes_are_compiled() -> None:
    compiler = Compiler()
    run = often(compiler, after=0)
    for side in range(1, 20):
        run(torch.rand(1, 3, side, side))
    assert compiler.compiled == COMPILED_SIZES
    run(torch.rand(1, 3, 2, 2))
    assert compiler.runs == COMPILED_SIZES + 1


def test_where_the_compiler_fails_the_network_runs_as_it_is() -> None:
    compiler = Compiler(RuntimeError("Failed to find C compiler.\nPlease specify via CC"))
    run = often(compiler, after=0)
    lq = torch.rand(1, 3, 8, 8)
    assert torch.equal(run(lq), lq)
    assert torch.equal(run(lq), lq)
    assert compiler.runs == 1
    assert run.notices == [
        "PyTorch could not compile the network (Failed to find C compiler.); it ran as it is."
    ]


def test_a_lack_of_memory_is_no_failure_of_the_compiler() -> None:
    compiler = Compiler(torch.OutOfMemoryError("CUDA out of memory."))
    run = often(compiler, after=0)
    with pytest.raises(torch.OutOfMemoryError):
        run(torch.rand(1, 3, 8, 8))
    compiler.error = None
    run(torch.rand(1, 3, 8, 8))
    assert compiler.compiled == 2


def test_a_single_small_photo_is_never_compiled_and_the_cpu_never_compiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = TorchEngine(calm("nafnet"), device="cpu", precision="fp32")
    assert engine._compiler is None
    compiler = Compiler()
    monkeypatch.setattr(engine, "_compiler", compiler)
    restore(engine, ramp(60, 80, 3))
    assert compiler.compiled == 0


def test_compiled_tiles_give_the_photo_and_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    image, tiles = ramp(200, 264, 3), Settings(tile=64, overlap=16)
    eager = TorchEngine(calm("nafnet"), device="cpu", precision="fp32")
    expected = restore(eager, image, settings=tiles)
    engine = TorchEngine(calm("nafnet"), device="cpu", precision="fp32")
    compiler = Compiler()
    monkeypatch.setattr(engine, "_compiler", compiler)
    monkeypatch.setattr(engine, "compile_after", 2 * 64 * 64)
    restored = restore(engine, image, settings=tiles)
    assert compiler.compiled == 1
    assert compiler.runs > 10
    assert np.array_equal(restored, expected)
    assert not engine.notices  # shown with the photo


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BACKBONES, "nafnet-instruct"])
def test_pytorch_compiles_every_network_in_one_graph(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "compiled"))
    network = small(name, **two_blocks(name)).eval()
    side = 8 * network.size_multiple
    lq, boxes = torch.rand(1, 3, side, side), torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    types = network.request_types
    request = (torch.eye(types)[:1],) if types else ()
    with torch.inference_mode():
        values = PooledValues(network)(lq, boxes, *request)
        whole, tile = Residual(network), TileResidual(network)
        for compiled, expected, inputs in (
            (compile_by_pytorch(whole), whole, (lq, *request)),
            (compile_by_pytorch(tile), tile, (lq, boxes, *request, *values)),
        ):
            torch.testing.assert_close(compiled(*inputs), expected(*inputs), atol=1e-3, rtol=1e-3)
    assert any((tmp_path / "compiled").rglob("*.cpp"))


def test_what_is_compiled_is_kept_in_our_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CACHE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    compile_by_pytorch(nn.Identity())
    assert os.environ[CACHE] == str(tmp_path / "maskdcpt" / "compiled")
