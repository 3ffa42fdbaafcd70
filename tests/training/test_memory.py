"""The memory that a run takes, as docs/training.md says it, and what happens where it is short."""

import re
from pathlib import Path

import pytest
import torch

from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.models.maskdcpt import MaskDCPT
from maskdcpt_cli.training import stages as stages_module
from maskdcpt_cli.training.finetune import Finetuning
from maskdcpt_cli.training.trainer import Trainer
from tests.training.runs import ENTRIES, finetuning, started

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| (\w+) \| ([\d.]+) M \| ([\d.]+) GB \| ([\d.]+) M \| ([\d.]+) GB \|$", PAGE, re.MULTILINE
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_table_is_that_of_the_networks(row):
    name, *printed = row
    with torch.device("meta"):
        backbone = build_backbone(name.lower())
        whole = MaskDCPT(
            backbone, classes=len(SETTINGS["12d"]), reconstruction=True, classification=True
        )
    own, all_of_them = (sum(p.numel() for p in model.parameters()) for model in (backbone, whole))
    counted = [own / 1e6, own * 20 / 1e9, all_of_them / 1e6, all_of_them * 16 / 1e9]
    assert [f"{counted[0]:.1f}", f"{counted[1]:.2f}"] == printed[:2]
    assert [f"{counted[2]:.1f}", f"{counted[3]:.2f}"] == printed[2:]


def test_the_table_has_the_networks_of_the_paper():
    assert [row[0] for row in ROWS] == ["NAFNet", "Restormer", "PromptIR", "SwinIR"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_runs_out_is_a_sentence_of_what_needs_less(error, tmp_path, monkeypatch):
    def step(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(
        MaskDCPTError, match=r"memory to train on batches of 4 crops of 32 \(.+\): give"
    ):
        list(started(finetuning(), tmp_path))


def test_memory_that_runs_out_in_a_validation_is_a_sentence_of_what_needs_less(
    tmp_path, monkeypatch
):
    def validate(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA")

    monkeypatch.setattr(Finetuning, "validate_sample", validate)
    with pytest.raises(
        MaskDCPTError, match=r"memory to validate on crops of 32 \(CUDA\): --set a smaller"
    ):
        list(started(finetuning(), tmp_path, validation=ENTRIES))


def test_a_network_that_the_device_has_no_room_for_is_a_sentence(tmp_path, monkeypatch):
    def to(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", to)
    with pytest.raises(MaskDCPTError, match="There is not enough memory to train on batches"):
        started(finetuning(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_image_that_memory_does_not_suffice_for_is_named(tmp_path, monkeypatch):
    def step(*_: object, **__: object) -> None:
        raise MaskDCPTError("huge.png cannot be read: insufficient memory.")

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(MaskDCPTError, match=r"^huge\.png cannot be read"):
        list(started(finetuning(), tmp_path))


def test_a_batch_that_cannot_fit_is_refused_with_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(stages_module, "physical_memory", lambda: 16 * 10**9)
    stages = [{"iterations": 1, "crop_size": 2048, "batch": 1000}]
    with pytest.raises(MaskDCPTError, match=r"1000 crops of 2048 pixels takes 101 GB .* has 16 GB"):
        started(finetuning(training={"stages": stages}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_memory_that_runs_out_as_a_run_resumes_is_no_fault_of_its_file(tmp_path, monkeypatch):
    list(started(finetuning(iterations=1), tmp_path))

    def load(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    monkeypatch.setattr(Trainer, "_load", load)
    with pytest.raises(
        MaskDCPTError, match=r"There is not enough memory .* \(CUDA out of memory\)"
    ):
        list(started(finetuning(iterations=1), tmp_path, resume=True))


def test_memory_that_runs_out_as_a_state_is_read_does_not_call_it_damaged(tmp_path, monkeypatch):
    list(started(finetuning(iterations=1), tmp_path))

    def load(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MaskDCPTError, match="not enough memory to read the state of the run"):
        list(started(finetuning(iterations=1), tmp_path, resume=True))
