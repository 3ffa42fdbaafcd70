"""A run folder of an earlier version, with its names of keys and files, is resumed."""

import json
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from PIL import Image

from maskdcpt_cli import MaskDCPTError, TrainingData, finetune, load_preset
from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.training.distributed import DistributedContext
from maskdcpt_cli.training.events import Notice, Saved, Step
from maskdcpt_cli.training.finetune import Finetuning
from maskdcpt_cli.training.trainer import Trainer
from tests.training.runs import differing, state

EARLIER_RUN = Path(__file__).parents[1] / "reference" / "earlier_run.zip"
STAGE = "{iterations: 4, batch: 2, crop_size: 16, lr: {initial: 1e-3, final: 1e-5}}"
NETWORK = "{width: 2, enc_blk_nums: [1], middle_blk_num: 1, dec_blk_nums: [1], unshuffle: 2}"
OVERRIDES = (
    f"training.stages=[{STAGE}]",
    "training.workers=0",
    "training.save_every=1",
    f"sizes={{nafnet: {NETWORK}}}",
    "optimizer.lr={initial: 2e-3}",
    "validation={every: 50, images: 1, crop_size: 16}",
)


@pytest.fixture
def run_dir(tmp_path):
    """Return a fine-tuning run that was stopped after 2 of 4 iterations."""
    with ZipFile(EARLIER_RUN) as archive:
        archive.extractall(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        image = Image.effect_noise((48, 48), 80).convert("RGB")
        image.save(tmp_path / "photos" / f"{number}.png")
    return TrainingData(photos=tmp_path / "photos")


def preset(*more):
    return load_preset("finetune", "tiny", overrides=[*OVERRIDES, *more])


def test_the_run_is_resumed_and_its_launches_are_kept(run_dir, photos):
    (first,) = (run_dir / "starts.jsonl").read_text().splitlines()
    resumed = finetune(preset(), photos, run_dir, resume=True, device="cpu", command=["again"])
    events = list(resumed)
    assert events[0] == Notice(f"Resuming '{run_dir}' after iteration 2.")
    assert [event.iteration for event in events if isinstance(event, Step)] == [3, 4]
    assert events[-1] == Saved(4, run_dir / "final.safetensors")
    launches = (run_dir / "launches.jsonl").read_text().splitlines()
    assert launches[0] == first
    assert [json.loads(line)["command"] for line in launches[1:]] == [["again"]]
    assert not (run_dir / "starts.jsonl").exists()
    log = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in log if "losses" in line] == [1, 2, 3, 4]


def test_its_state_is_restored_bit_for_bit(run_dir):
    labels = SETTINGS["12d+clean"]
    trainer = Trainer(
        Finetuning(preset(), labels),
        preset(),
        distributed=DistributedContext(torch.device("cpu")),
        micro_batch=None,
    )
    earlier = state(run_dir)
    trainer.load(earlier, name="last.state")
    earlier["optimizer"] = earlier.pop("optimiser")
    assert not differing(earlier, dict(trainer.state()))


def test_other_settings_than_its_own_are_refused(run_dir, photos):
    with pytest.raises(MaskDCPTError, match=r"has optimizer.clip 0.1, but this asks for 0.5"):
        finetune(preset("optimizer.clip=0.5"), photos, run_dir, resume=True, device="cpu")
