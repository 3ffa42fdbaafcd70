"""How processes are started, find one another and their GPUs, and end together."""

import os
import threading
import time

import pytest
import torch
import torch.distributed as dist

from maskdcpt_cli.errors import BackendError
from maskdcpt_cli.models import BACKBONES
from maskdcpt_cli.training import failures
from maskdcpt_cli.training.distributed import (
    DistributedContext,
    algorithms,
    check_devices,
    init_distributed,
)
from maskdcpt_cli.training.failures import ending_together
from maskdcpt_cli.training.launcher import Launch, first_host, launched, meeting_point
from maskdcpt_cli.training.stages import batch_stages, stage_index
from tests.programs import start_step
from tests.training.runs import finetuning, pretraining, started, state, steps

STEP = {
    "SLURM_JOB_ID": "123456", "SLURM_STEP_ID": "2", "SLURM_PROCID": "5", "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "gpu[07-08,11]",
}  # fmt: skip


def test_the_variables_of_torchrun_srun_and_neither():
    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    assert launched(torchrun) == Launch(3, 4, 1, "torchrun")
    assert launched(STEP) == Launch(5, 8, 1, "srun")
    assert launched({**STEP, **torchrun}) == Launch(3, 4, 1, "torchrun")
    assert launched({}) == Launch(0, 1, 0, "")
    without_tasks = {key: value for key, value in STEP.items() if key != "SLURM_STEP_NUM_TASKS"}
    assert launched({**without_tasks, "SLURM_NTASKS": "6"}).world_size == 6


def test_a_batch_script_is_one_process_however_many_tasks_its_job_has():
    script = {key: value for key, value in STEP.items() if "STEP" not in key}
    assert launched(script) == Launch()


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[07-08,11]", "gpu07"),
        ("a-1,b2", "a-1"),
        ("login", "login"),
        ("rack[1-2]n[03,05],other", "rack1n03"),
        ("gpu[4]", "gpu4"),
    ],
)
def test_the_first_host_of_a_list_of_slurm(nodes, first):
    assert first_host(nodes) == first


def test_processes_of_a_job_meet_where_its_numbers_say():
    host, port = meeting_point(STEP)
    assert host == "gpu07"
    assert 10_000 <= port < 30_000
    assert meeting_point({**STEP, "SLURM_STEP_ID": "3"})[1] != port
    given = {"MASTER_ADDR": "here", "MASTER_PORT": "77"}
    assert meeting_point({**STEP, **given}) == ("here", 77)


def with_gpus(monkeypatch, count: int, **environ: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    for name in ("CUDA_VISIBLE_DEVICES", *STEP):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3"}


def test_each_process_takes_the_gpu_of_its_number(monkeypatch):
    with_gpus(monkeypatch, 4, **TORCHRUN)
    assert init_distributed() == DistributedContext(torch.device("cuda:3"), 3, 4)
    assert init_distributed("cuda").device == torch.device("cuda:3")


@pytest.mark.parametrize("environ", [STEP, {**TORCHRUN, "CUDA_VISIBLE_DEVICES": "3"}])
def test_a_process_that_sees_one_gpu_takes_it(environ, monkeypatch):
    with_gpus(monkeypatch, 1, **environ)
    assert init_distributed().device == torch.device("cuda:0")


@pytest.mark.parametrize(
    ("gpus", "visible"), [(1, {}), (2, {}), (2, {"CUDA_VISIBLE_DEVICES": "0,1"})]
)
def test_more_processes_than_gpus_are_refused(gpus, visible, monkeypatch):
    with_gpus(monkeypatch, gpus, **TORCHRUN, **visible)
    with pytest.raises(BackendError, match=f"Process 3 of this machine .* there are {gpus}"):
        init_distributed()


def test_one_gpu_for_all_processes_is_refused(monkeypatch):
    with_gpus(monkeypatch, 4, **TORCHRUN)
    with pytest.raises(BackendError, match=r"^--device cuda:1 is one GPU, and each of the 4 .*\.$"):
        init_distributed("cuda:1")


def test_two_processes_on_one_gpu_are_refused():
    store = dist.HashStore()
    store.set("maskdcpt/gpu/0", "host GPU-1")
    with pytest.raises(BackendError, match=r"Processes 0, 1 have the same GPU \(host GPU-1\)"):
        check_devices(store, "host GPU-1", Launch(1, 2, 1, "torchrun"))
    check_devices(store, "other GPU-1", Launch(1, 2, 1, "torchrun"))


def test_a_stage_lasts_its_iterations_and_the_last_one_until_the_end():
    stages = batch_stages(finetuning(), DistributedContext(torch.device("cpu"))) * 2
    assert [stage_index(stages, i) for i in (0, 5, 6, 11, 12, 99)] == [0, 0, 1, 1, 1, 1]


def test_cudnn_tries_its_algorithms_on_a_gpu_only_and_for_a_run_only(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert not torch.backends.cudnn.benchmark
    with algorithms(torch.device("cuda"), deterministic=False):
        assert torch.backends.cudnn.benchmark
    for device, deterministic in (("cpu", False), ("cuda", True)):
        with algorithms(torch.device(device), deterministic=deterministic):
            assert not torch.backends.cudnn.benchmark
            assert torch.are_deterministic_algorithms_enabled() == deterministic
            assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic
    assert not torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_deterministic_runs_have_the_numbers_of_the_others_on_the_cpu(backbone, tmp_path):
    results = []
    for deterministic in (False, True):
        training = {"deterministic": deterministic}
        preset = pretraining(backbone=backbone, iterations=1, batch=2, training=training)
        results.append(steps(started(preset, tmp_path / str(deterministic)))[0].losses)
    assert results[0] == results[1]


@pytest.mark.torchrun
def test_srun_starts_processes_that_train_together(tmp_path):
    processes = start_step("tests.training.runs", str(tmp_path / "run"))
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert state(tmp_path / "run")["iteration"] == 6


def test_no_thread_looks_for_failures_after_the_end(monkeypatch):
    """Python aborts (SIGABRT) if it ends while a thread is within the store."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    monkeypatch.setattr(failures, "POLL", 0.0)
    before = set(threading.enumerate())
    with ending_together(DistributedContext(torch.device("cpu"), 0, 2)):
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) == before


@pytest.mark.torchrun
@pytest.mark.parametrize("how", ["waiting", pytest.param("stuck", marks=pytest.mark.slow)])
def test_a_process_that_fails_ends_all_with_its_reason(how, tmp_path):
    processes = start_step("tests.training.failing", str(tmp_path / "run"), how)
    began = time.monotonic()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert time.monotonic() - began < 50, "nobody waited in vain"
    assert [process.returncode for process in processes] == [1, 1]
    assert errors[1].strip() == "The disk of this machine is gone."
    assert "Process 1 failed: The disk of this machine is gone." in errors[0]
    if how == "waiting":
        assert state(tmp_path / "run")["iteration"] == 2
