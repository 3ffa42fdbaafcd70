"""Kill commands, and fill disks: `python -m tests.faults --kills 100`, `--full-disk 1`.

After each kill the second run gives the files of an undisturbed run, byte for byte, and leaves no
unfinished file. On a disk that is full after N bytes (every N, or one of `--full-disk`) there is an
error, and the file of before. What does not is printed, and the exit code is 1.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyiqa  # noqa: F401 - loaded once, as torch, for all runs are forks of this process
import torch
from PIL import Image

import maskdcpt_cli.benchmarking.run
import maskdcpt_cli.inference.restore
import maskdcpt_cli.training.finetune
import maskdcpt_cli.training.pretrain  # noqa: F401
from maskdcpt_cli.cli import main as program
from maskdcpt_cli.weights.checkpoint import Checkpoint, save_checkpoint
from tests.faults.writers import fill_disk, inputs
from tests.small import SMALL, calm

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Command:
    """A command line; what a second run adds to it; and the files that are compared."""

    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()
    results: str = "out/**/*"
    apart_from: tuple[str, ...] = (".maskdcpt.jsonl",)


TRAINING = (
    *(
        "--preset",
        "tiny",
        "--photos",
        "photos",
        "--setting",
        "5d",
        "--run-dir",
        "out",
        "--device",
        "cpu",
    ),
    *("--set", "training.stages=[{iterations: 6, crop_size: 32, batch: 2}]"),
    *("--set", "training.workers=0", "--set", "training.save_every=2"),
    *("--set", "validation={images: 1, crop_size: 32, every: 3}"),
    *("--set", "sizes.nafnet={width: 4, enc_blk_nums: [1, 1], dec_blk_nums: [1, 1]}"),
)
RESTORED = ("restore", "photos", "-o", "out", "--model", "small.safetensors", "--device", "cpu")
COMMANDS: Mapping[str, Command] = {
    "restore": Command((*RESTORED, "--backend", "torch")),
    "restore as JPEG": Command((*RESTORED, "--backend", "torch", "--format", "jpeg")),
    "degrade": Command(("degrade", "photos", "-o", "out", "--setting", "5d", "--jobs", "1")),
    "pack": Command(
        ("data", "pack", "-o", "out", "--photos", "photos", "--crop-size", "32", "--jobs", "1")
    ),
    "pretrain": Command(("pretrain", *TRAINING), ("--resume",), "out/final.safetensors"),
    "finetune": Command(("finetune", *TRAINING), ("--resume",), "out/final.safetensors"),
    "benchmark": Command(
        (
            *("benchmark", "--data-preset", "denoise", "--photos", "photos", "-o", "out"),
            *("--model", "small.safetensors", "--device", "cpu", "--backend", "torch"),
            *("--metrics", "psnr", "--jobs", "1", "--limit", "3", "--save-images"),
        )
    ),
    "score": Command(
        (
            "score",
            "photos",
            "photos",
            "--device",
            "cpu",
            "--metrics",
            "psnr",
            "--csv",
            "out/scores.csv",
        )
    ),
}


def prepare(folder: Path) -> None:
    """Put the inputs of all commands into a folder."""
    (folder / "photos").mkdir()
    with Image.open(EXAMPLES / "bee-blur.jpg") as image:
        for number in range(6):
            image.crop((number, 0, number + 64, 48)).save(folder / "photos" / f"{number}.png")
    whole = Checkpoint("nafnet", SMALL["nafnet"], calm("nafnet").state_dict(), ("GN", "H"))
    save_checkpoint(whole, folder / "small.safetensors")


def run(arguments: Sequence[str], folder: Path, *, kill_after: float | None = None) -> int:
    """Return the exit code of a run in a process of its own; negative where it was killed."""
    process = os.fork()
    if process == 0:
        os.chdir(folder)
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        if kill_after is not None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends a process as kill -9 does
            signal.setitimer(signal.ITIMER_REAL, kill_after)
        code = 70
        try:
            program(args=list(arguments), prog_name="maskdcpt")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def results(command: Command, folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob(command.results))
        if path.is_file() and path.name not in command.apart_from
    }


def left_over(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*.part")]


@contextlib.contextmanager
def scratch(inputs: Path):
    with tempfile.TemporaryDirectory() as copied:
        shutil.copytree(inputs, copied, dirs_exist_ok=True)
        yield Path(copied)


def kill_and_rerun(name: str, command: Command, inputs: Path, kills: int, dice: random.Random):
    """Yield what came of each kill: "" where nothing was lost."""
    seconds = float("inf")
    for _ in range(2):  # the first may be slow, as what it loads is not in memory yet
        with scratch(inputs) as folder:
            began = time.perf_counter()
            if code := run(command.arguments, folder):
                yield f"{name}: exit code {code} undisturbed: {(folder / 'log.txt').read_text()}"
                return
            seconds = min(seconds, time.perf_counter() - began)
            expected = results(command, folder)
    for _ in range(kills):
        moment = dice.uniform(0.02, 1.0) * seconds
        with scratch(inputs) as folder:
            run(command.arguments, folder, kill_after=moment)
            if results(command, folder) == expected:
                yield "done before"
                continue
            again = command.again if (folder / "out").exists() else ()
            code = run((*command.arguments, *again), folder)
            log = (folder / "log.txt").read_text()
            if code:
                yield f"{name} after {moment:.3f} s: exit code {code}: {log}"
            elif (found := results(command, folder)) != expected:
                names = [x for x in expected | found if expected.get(x) != found.get(x)]
                yield f"{name} after {moment:.3f} s: {', '.join(names)} differ: {log}"
            elif parts := left_over(folder):
                yield f"{name} after {moment:.3f} s: left over: {', '.join(parts)}"
            else:
                yield ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", choices=COMMANDS, action="append")
    parser.add_argument("--kills", type=int, default=0, help="of all commands together")
    parser.add_argument("--full-disk", type=int, metavar="N", help="at every Nth byte of each file")
    parser.add_argument("--writer", action="append", help="of --full-disk, these alone")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lost = 0
    if options.kills:
        lost = _kill(options.command or list(COMMANDS), options.kills, options.seed)
    if options.full_disk:
        lost += _fill_disks(options.writer, stride=options.full_disk)
    return 1 if lost else 0


def _fill_disks(names: Sequence[str] | None, *, stride: int) -> int:
    lost = 0
    with inputs() as writers:
        for name in names or writers:
            found = list(fill_disk(name, writers[name], stride=stride))
            for problem in filter(None, found):
                print(problem)
            lost += sum(map(bool, found))
            print(f"{name}: full at {len(found)} sizes")
    return lost


def _kill(names: Sequence[str], kills: int, seed: int) -> int:
    lost = 0
    with tempfile.TemporaryDirectory() as prepared:
        prepare(Path(prepared))
        for name in names:
            counts: Counter[str] = Counter()
            dice = random.Random(f"{seed} {name}")
            share = kills // len(names)
            for found in kill_and_rerun(name, COMMANDS[name], Path(prepared), share, dice):
                if found and found != "done before":
                    print(found)
                counts[found if found in ("", "done before") else "lost"] += 1
            lost += counts["lost"]
            survived, late = counts[""], counts["done before"]
            print(f"{name}: {survived} kills survived, {late} too late, {counts['lost']} lost")
    return lost


if __name__ == "__main__":
    sys.exit(main())
