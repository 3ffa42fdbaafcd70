"""Rows of training: fine-tuning, masked pre-training, layouts, resuming, and DDP."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW

from benchmarks.dense_masking import DenseMask, mask_densely
from benchmarks.gpu.rows import Bench, Line, Row, timed
from benchmarks.loader import pack_all
from maskdcpt_cli.data.mixture import Mixture, Sample
from maskdcpt_cli.data.pairs import FilePairs, Names
from maskdcpt_cli.data.parallel import processors
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.models.masking import OnGrid, PatchMask
from maskdcpt_cli.presets.training import Finetune, Pretrain, load_preset
from maskdcpt_cli.training import finetune
from maskdcpt_cli.training.distributed import DistributedContext, algorithms
from maskdcpt_cli.training.events import Notice, Step
from maskdcpt_cli.training.finetune import Finetuning
from maskdcpt_cli.training.pretrain import Pretraining
from maskdcpt_cli.training.trainer import Trainer

LABELS = SETTINGS["5d"]
MAX_WORKERS = 15
STEPS = 3  # of a measurement: on a GPU each is launched while the one before is computed
SMALL = "{width: 4, enc_blk_nums: [1, 1], dec_blk_nums: [1, 1]}"


@contextmanager
def shards(*, images: int, side: int) -> Iterator[Path]:
    """Write shards of pairs, of clouds and of the same with noise; yield their index."""
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("lq", "gt"):
            (folder / part).mkdir()
        for number in range(images):
            coarse = generator.integers(0, 256, (8, 8, 3), np.uint8)
            gt = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
            noise = generator.integers(-20, 20, gt.shape)
            cv2.imwrite(str(folder / f"gt/{number}.png"), gt)
            cv2.imwrite(
                str(folder / f"lq/{number}.png"), (gt + noise).clip(0, 255).astype(np.uint8)
            )
        names = [f"{number}.png" for number in range(images)]
        gt_names, lq_names = (Names(f"{part}/{one}" for one in names) for part in ("gt", "lq"))
        pairs = FilePairs(folder, gt_names, lq_names, "H")
        (folder / "packed").mkdir()
        yield pack_all([ImageSet("crops", pairs)], folder / "packed")


def tiny_preset(bench: Bench, *more: str, iterations: int = 10**6) -> Finetune:
    """Return fine-tuning of the network of `tiny`, in bf16."""
    stage = f"iterations: {iterations}, crop_size: {bench.size(256, 64)}"
    workers = min(MAX_WORKERS, processors() - 1)
    preset = load_preset(
        "finetune", "embedded",
        overrides=[
            f"training.stages=[{{{stage}, batch: {bench.size(64, 2)}}}]",
            f"training.workers={bench.size(workers, 0)}",
            "training.save_every=1000000",
            *([f"sizes.nafnet={SMALL}"] if bench.quick else []),
            *more,
        ],
    )  # fmt: skip
    assert isinstance(preset, Finetune)
    return preset


def finetune_throughput(bench: Bench, *more: str) -> Iterator[Line]:
    """Yield crops a second of a whole run, from shards to the update, and the wait for data."""
    preset = tiny_preset(bench, *more)
    work = f"finetune, tiny's network, {bench.size(256, 64)}x{bench.size(256, 64)}"
    work += f", batch {bench.size(64, 2)}{', compiled' if more else ''}"
    with shards(images=bench.size(128, 4), side=bench.size(512, 96)) as index:
        data = Mixture([ImageSet("crops", ShardPairs(index, "H"))], labels=LABELS)
        end = time.perf_counter() + 0.6 * bench.seconds
        counted: list[Step] = []
        events = finetune.train(preset, data, index.parent / "run", device=str(bench.device))
        with closing(events):
            for event in events:
                if isinstance(event, Notice):
                    yield Line(work, "ours, bf16", event.text)
                if isinstance(event, Step) and not event.warm_up:
                    counted.append(event)
                    if time.perf_counter() > end or (bench.quick and len(counted) > 2):
                        break
    seconds = [step.batch / step.images_per_second for step in counted]
    speed = sum(step.batch for step in counted) / sum(seconds)
    waited = sum(s.waited * t for s, t in zip(counted, seconds, strict=True)) / sum(seconds)
    eager = bench.size(64, 2) / eager_step(bench)
    figure = f"{speed:.0f} crops/s, {waited:.1%} waiting for data"
    yield Line(work, "eager, fp32, NCHW, nothing to load", f"{eager:.0f} crops/s")
    met = None if bench.quick else speed >= 2500
    yield Line(work, "ours, bf16", figure, speed / eager, "2500 crops/s", met)


def eager_step(bench: Bench) -> float:
    """Return the seconds of a step in plain PyTorch, its batch on the device already."""
    model = Finetuning(tiny_preset(bench), LABELS).backbone.to(bench.device).train()
    optimizer = AdamW(model.parameters(), lr=1e-4)
    side = bench.size(256, 64)
    lq, gt = torch.rand(2, bench.size(64, 2), 3, side, side, device=bench.device)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(F.l1_loss(model(lq), gt))
        optimizer.step()

    return timed({"eager": step}, bench, fraction=0.1)["eager"]


def compiled_throughput(bench: Bench) -> Iterator[Line]:
    if bench.quick:
        return iter(())  # it would take minutes on a CPU
    return finetune_throughput(bench, "training.compile=true")


class DenselyMasked(Pretraining):
    """Pre-training as the released code masks: maps times masks, of one mask for all steps."""

    dense: DenseMask | None = None

    def mask(self, number: Tensor, images: Tensor) -> OnGrid:
        if self.dense is None:
            drawn = super().mask(number, images)
            assert isinstance(drawn, PatchMask)
            self.dense = DenseMask(drawn.visible, size=drawn.size, patch_size=drawn.patch_size)
            mask_densely(self.maskdcpt, self.dense)
        return self.dense


def pretrain_trainer(bench: Bench, *more: str, kind: type[Pretraining] = Pretraining) -> Trainer:
    dims = [f"heads.{head}_dims=[4, 4, 4, 4]" for head in ("classifier", "reconstruction")]
    small = [f"sizes.nafnet={SMALL}", *dims] if bench.quick else []
    preset = load_preset(
        "pretrain", "5d", overrides=[f"training.stages={pretrain_stages(bench)}", *small, *more]
    )
    assert isinstance(preset, Pretrain)
    context = DistributedContext(bench.device)
    return Trainer(kind(preset, LABELS), preset, distributed=context, micro_batch=None)


def pretrain_stages(bench: Bench) -> str:
    side, batch = bench.size(256, 64), bench.size(16, 2)
    return f"[{{iterations: 1000, crop_size: {side}, batch: {batch}}}]"


def batch_of(bench: Bench, *, images: int, side: int) -> Sample:
    """Return a batch as the loader gives it: 8 bits, in pinned memory where there is a GPU."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, images, 3, side, side)
    lq, gt = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    label, number = torch.zeros(images, dtype=torch.int64), torch.arange(images)
    present = torch.eye(len(LABELS))[label]
    tensors = [lq, gt, label, number, present, present]
    if bench.device.type == "cuda":
        tensors = [tensor.pin_memory() for tensor in tensors]
    return Sample(*tensors, ())


def steps_of(trainer: Trainer, batch: Sample, *, count: int = STEPS) -> Callable[[], None]:
    """Return some steps, each launched before the one before it is waited for."""

    def run() -> None:
        for step in [trainer.step(batch) for _ in range(count)]:
            trainer.finish(step)

    return run


def pretrain_steps(bench: Bench) -> Iterator[Line]:
    """Yield a step of masked pre-training against the same one with nothing hidden, and densely."""
    side, images = bench.size(256, 64), bench.size(16, 2)
    batch = batch_of(bench, images=images, side=side)
    released = ("training.channels_last=false",)
    trainers = {
        "released way: dense maps times masks, eager, fp32": pretrain_trainer(
            bench, *released, kind=DenselyMasked
        ),
        "nothing hidden, fp32": pretrain_trainer(bench, "mask.ratio=0"),
        "ours, fp32": pretrain_trainer(bench),
        "nothing hidden, bf16": pretrain_trainer(bench, "mask.ratio=0", "training.precision=bf16"),
        "ours, bf16": pretrain_trainer(bench, "training.precision=bf16"),
    }
    with algorithms(bench.device, deterministic=False):
        cases = {way: steps_of(trainer, batch) for way, trainer in trainers.items()}
        seconds = {way: s / STEPS for way, s in timed(cases, bench, fraction=0.6).items()}
    dense, *_ = seconds.values()
    work = f"pre-training 5D, NAFNet-64, {side}x{side}, batch {images}"
    for way, taken in seconds.items():
        figure, goal, met = f"{1000 * taken:.0f} ms", "", None
        if way.startswith("ours"):
            ratio = taken / seconds[way.replace("ours", "nothing hidden")]
            figure += f", {ratio:.2f} of nothing hidden"
            goal = "0.55 of nothing hidden, 2x the released way"
            met = None if bench.quick else ratio <= 0.55 and dense / taken >= 2
        yield Line(work, way, figure, dense / taken, goal, met)


def layouts(bench: Bench) -> Iterator[Line]:
    """Yield a step of fine-tuning of each network with channels last and with channels first."""
    side, images = bench.size(128, 32), bench.size(4, 1)
    batch = batch_of(bench, images=images, side=side)
    for name in BACKBONES:
        cases = {}
        for layout in ("true", "false"):
            preset = load_preset(
                "finetune", "tiny" if bench.quick else "5d",
                overrides=[f"backbone={name}", f"training.channels_last={layout}"],
            )  # fmt: skip
            assert isinstance(preset, Finetune)
            context = DistributedContext(bench.device)
            trainer = Trainer(
                Finetuning(preset, LABELS), preset, distributed=context, micro_batch=None
            )
            cases[layout] = steps_of(trainer, batch, count=1)
        with algorithms(bench.device, deterministic=False):
            seconds = timed(cases, bench, fraction=0.2)
        work = f"layout, {name}, {side}x{side}, batch {images}, fp32"
        last, first = seconds["true"], seconds["false"]
        yield Line(work, "eager, NCHW", f"{1000 * first:.0f} ms")
        yield Line(work, "ours, channels last", f"{1000 * last:.0f} ms", first / last)


def resumed(bench: Bench) -> Iterator[Line]:
    """Yield the difference of a run that was interrupted and resumed to one that was not."""
    preset = tiny_preset(bench, "training.deterministic=true", iterations=6)
    weights: list[Sequence[Tensor]] = []
    with shards(images=bench.size(32, 4), side=bench.size(512, 96)) as index:
        data = Mixture([ImageSet("crops", ShardPairs(index, "H"))], labels=LABELS)
        for number, parts in enumerate((1, 2)):
            folder = index.parent / f"run{number}"
            for part in range(parts):
                events = finetune.train(
                    preset, data, folder, resume=part > 0, device=str(bench.device)
                )
                with closing(events):
                    list(islice(events, None if part + 1 == parts else 3))
            state = torch.load(folder / "last.state", weights_only=True, map_location="cpu")
            weights.append(list(state["model"].values()))
    difference = max(float((a - b).abs().max()) for a, b in zip(*weights, strict=True))
    yield Line(
        "check: a resumed run against an uninterrupted one", "ours, bf16, deterministic",
        f"{difference:.1g}", goal="0", met=difference == 0,
    )  # fmt: skip


def one_rank(bench: Bench) -> Iterator[Line]:
    """Yield the difference and the time of DDP of one rank to a process of its own."""
    batch = batch_of(bench, images=bench.size(16, 2), side=bench.size(256, 64))
    preset = tiny_preset(bench, "training.precision=fp32")
    context = DistributedContext(bench.device)
    trainers = [
        Trainer(Finetuning(preset, LABELS), preset, distributed=context, micro_batch=None)
        for _ in range(2)
    ]
    with tempfile.TemporaryDirectory() as folder:
        cuda = bench.device.type == "cuda"
        dist.init_process_group(
            "nccl" if cuda else "gloo", init_method=f"file://{folder}/{os.getpid()}",
            rank=0, world_size=1,
        )  # fmt: skip
        try:
            trainers[1].wrapped = DistributedDataParallel(
                trainers[1].task.model,
                device_ids=[bench.device] if cuda else None,
                gradient_as_bucket_view=True,
            )
            cases = {
                name: steps_of(trainer, batch)
                for name, trainer in zip(("alone", "DDP"), trainers, strict=True)
            }
            seconds = timed(cases, bench, fraction=0.4)
        finally:
            dist.destroy_process_group()
    pairs = zip(*(trainer.task.model.state_dict().values() for trainer in trainers), strict=True)
    difference = max(float((one - other).abs().max()) for one, other in pairs)
    figure = f"{difference:.1g} after the same steps, {seconds['DDP'] / seconds['alone']:.2f}x time"
    yield Line(
        "check: DDP of one rank against a process alone", "ours, fp32", figure,
        goal="1e-3", met=difference < 1e-3,
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    Row("finetune", 45, finetune_throughput),
    Row("pretrain", 60, pretrain_steps),
    Row("resume", 20, resumed),
    Row("ddp", 15, one_rank),
    Row("layouts", 40, layouts),
    Row("finetune-compiled", 75, compiled_throughput),
)
