"""Rows of restoration: whole folders, one large image, one pass of each network, and checks."""

import copy
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.backends import randomised
from benchmarks.folder import photograph, write_photos
from benchmarks.gpu.rows import Bench, Line, Row, timed
from benchmarks.measure import psnr
from maskdcpt_cli import load_model, open_engine, restore, restore_folder
from maskdcpt_cli.inference.backends import PRECISIONS, Engine
from maskdcpt_cli.inference.backends.pytorch import TorchEngine
from maskdcpt_cli.models import Backbone, build_backbone

DISTINCT = 4  # photos; the others are copies of them
LEAST_DB = {"fp32": 90, "tf32": 48, "fp16": 48, "bf16": 33}  # of the CPU's fp32
RESIDUAL = 0.1  # standard deviation, about that of a trained network
TINY = "tiny"
SIZES = {TINY: 2048, "nafnet": 1024, "restormer": 512, "promptir": 512, "swinir": 256}
GOALS_MS = {TINY: 10.0, "nafnet": 21.0}  # everything in; of the others a third of eager
SMALL: dict[str, dict[str, object]] = {
    "nafnet": {"width": 8, "enc_blk_nums": (1, 1, 1, 1)},
    "restormer": {"dim": 8, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1},
    "promptir": {"dim": 8, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1},
    "swinir": {"embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2)},
}


def engine_of(model: Backbone, bench: Bench, precision: str = "auto") -> Engine:
    return open_engine(model, device=str(bench.device), precision=precision, backend="torch")


def network_of(name: str, bench: Bench) -> Backbone:
    """Return `tiny`, or a network of the released size with random weights; or a small one."""
    if name == TINY:
        return load_model(TINY)
    return build_backbone(name, **SMALL[name]).eval() if bench.quick else randomised(name).eval()


def precisions(bench: Bench) -> tuple[str, ...]:
    return PRECISIONS if bench.device.type == "cuda" else TorchEngine.precisions


def folder(bench: Bench) -> Iterator[Line]:
    """Restore JPEGs of 12 megapixels, as `maskdcpt restore` does."""
    megapixels, photos = (0.1, 3) if bench.quick else (12.0, 24)
    engine = engine_of(load_model(TINY), bench)
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch, "photos"), Path(scratch, "out")
        source.mkdir()
        write_photos(source, photos=DISTINCT, megapixels=megapixels, suffix=".jpg")
        list(restore_folder(engine, source, out, existing="overwrite"))  # warms up
        for i in range(DISTINCT, photos):
            shutil.copy(source / f"{i % DISTINCT:03}.jpg", source / f"{i:03}.jpg")
        began = time.perf_counter()
        outcomes = list(restore_folder(engine, source, out, existing="overwrite"))
        seconds = time.perf_counter() - began
    if any(outcome.status != "restored" for outcome in outcomes):
        raise RuntimeError(f"not restored: {next(o.reason for o in outcomes if o.reason)}")
    speed = sum(outcome.pixels for outcome in outcomes) / 1e6 / seconds
    network = sum(outcome.seconds for outcome in outcomes)
    work = f"restore of {len(outcomes)} JPEGs of {megapixels:g} MP, tiny"
    figure = f"{speed:.1f} MP/s; {seconds:.1f} s, the network {network:.1f} s"
    yield Line(work, engine.describe(), figure, goal="100 MP/s", met=speed >= 100)


def large(bench: Bench) -> Iterator[Line]:
    """Restore one large PNG."""
    megapixels = 0.3 if bench.quick else 108.0
    engine = engine_of(load_model(TINY), bench)
    restore(engine, np.asarray(photograph(min(megapixels, 4.0), seed=0)))  # warms up
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch, "photos"), Path(scratch, "out")
        source.mkdir()
        photograph(megapixels, seed=0).save(source / "large.png", compress_level=1)
        began = time.perf_counter()
        (outcome,) = restore_folder(engine, source, out)
        seconds = time.perf_counter() - began
    work = f"restore of one PNG of {megapixels:g} MP, tiny"
    figure = f"{seconds:.1f} s, the network {outcome.seconds:.1f} s; {outcome.status}"
    yield Line(work, engine.describe(), figure, goal="8 s", met=seconds <= 8)


def one_pass(name: str, bench: Bench) -> Iterator[Line]:
    """Time a pass of a network from pixels to pixels, eager and by our engine.

    What is compiled comes last, as compiling may take the rest of the row's budget.
    """
    side = bench.size(SIZES[name], 64)
    model = network_of(name, bench)
    lq = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    eager = (
        f"eager fp32, NCHW, {'TF32 in convolutions, ' if bench.device.type == 'cuda' else ''}alone"
    )
    cases: dict[str, Callable[[], object]] = {eager: eager_pass(model, lq, bench)}
    for precision in precisions(bench):
        cases |= our_passes(model, lq, precision, bench)
    seconds = timed(cases, bench, fraction=0.3)
    goal = GOALS_MS.get(name, 1000 * seconds[eager] / 3)

    def lines(measured: Mapping[str, float]) -> Iterator[Line]:
        for way, taken in measured.items():
            ours = way.startswith("ours fp16")
            yield Line(
                f"{name}, {side}x{side}",
                way,
                f"{1000 * taken:.1f} ms",
                seconds[eager] / taken,
                f"{goal:.0f} ms" if ours else "",
                1000 * taken <= goal if ours else None,
            )

    yield from lines(seconds)
    if bench.device.type == "cuda":
        for precision in reversed(precisions(bench)):  # fp16 first: auto takes it
            compiled = our_passes(model, lq, precision, bench, compiled=True)
            yield from lines(timed(compiled, bench, fraction=0.1))


def eager_pass(model: Backbone, lq: np.ndarray, bench: Bench) -> Callable[[], object]:
    network = copy.deepcopy(model).to(bench.device).eval()
    there = torch.from_numpy(lq).permute(2, 0, 1)[None].to(bench.device).float() / 255

    @torch.inference_mode()
    def run() -> Tensor:
        return network(there.contiguous())

    return run


def our_passes(
    model: Backbone, lq: np.ndarray, precision: str, bench: Bench, *, compiled: bool = False
) -> dict[str, Callable[[], object]]:
    """Return `restore` of an array, and the network alone on its device."""
    engine = engine_of(model, bench, precision)
    way = f"ours {precision}"
    if compiled:
        engine.compile_after = 0
        way += ", compiled"
    there = torch.from_numpy(lq).permute(2, 0, 1)[None].to(bench.device).float() / 255
    return {
        f"{way}, everything in": partial(restore, engine, lq),
        f"{way}, alone": partial(engine, there),
    }


def numbers(bench: Bench) -> Iterator[Line]:
    """Compare every precision with fp32 on the CPU."""
    side = bench.size(128, 64)
    lq = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    for name in SIZES:
        model = network_of(name, bench) if name == TINY else calmed(network_of(name, bench), lq)
        with torch.inference_mode():
            expected = model(lq)
        for precision in precisions(bench):
            found = psnr(engine_of(model, bench, precision)(lq), expected)
            least = LEAST_DB[precision]
            yield Line(
                f"{name}, {side}x{side}, against fp32 on the CPU",
                f"ours {precision}",
                f"{found:.1f} dB",
                goal=f"{least} dB",
                met=found >= least,
            )


def calmed(model: Backbone, lq: Tensor) -> Backbone:
    """Scale the last convolution of a network of random weights, in place."""
    last = [module for module in model.modules() if isinstance(module, nn.Conv2d)][-1]
    with torch.no_grad():
        scale = RESIDUAL / (model(lq) - lq).std()
        for parameter in last.parameters():
            parameter.mul_(scale)
    return model


ROWS: tuple[Row, ...] = (
    *(Row(f"pass-{name}", 21, partial(one_pass, name)) for name in SIZES),
    Row("numbers", 30, numbers),
    Row("folder", 45, folder),
    Row("large", 45, large),
)
