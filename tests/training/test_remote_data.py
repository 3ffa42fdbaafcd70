"""Training on shards at an address: a run that is killed, or that loses its server, is not lost."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from maskdcpt_cli.data.shards import remote
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.training import Pretrain, load_preset
from maskdcpt_cli.training.events import Step
from maskdcpt_cli.training.finetune import finetune
from maskdcpt_cli.training.inputs import TrainingData
from maskdcpt_cli.training.pretrain import pretrain
from tests.data.packing import packed
from tests.data.servers import Server, serving
from tests.training.runs import differing, finetuning, pretraining, state, steps

TRAINING = {"workers": 0, "save_every": 1}
BATCH = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return packed(tmp_path_factory.mktemp("data"), images=12)


@pytest.fixture
def server(folder, monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.0, 0.01))
    with serving(folder) as server:
        yield server


def data_preset(path: Path, index: str) -> Path:
    source = {"name": "packed", "shards": index}
    data = {"setting": "5d", "train": [{"degradation": "H", "sources": [source]}]}
    path.write_text(yaml.safe_dump(data))
    return path


def preset_of(tmp_path: Path, server: Server, *, kind: str = "pretrain", iterations: int = 6):
    data = data_preset(tmp_path / "data.yaml", server.index)
    make = pretraining if kind == "pretrain" else finetuning
    run = make(iterations=iterations, batch=BATCH, training=TRAINING, data=str(data))
    path = tmp_path / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(run.model_dump(mode="json", exclude_unset=True)))
    return load_preset(kind, str(path))


def train(preset, run_dir: Path, *, resume: bool = False):
    run = pretrain if isinstance(preset, Pretrain) else finetune
    return run(preset, TrainingData(), run_dir, resume=resume, device="cpu")


def test_a_run_that_is_killed_resumes_at_the_same_sample(server, tmp_path):
    preset = preset_of(tmp_path, server)
    samples = 3 * BATCH + 1  # of three iterations, and the one that is held out
    server.stops_after = 3 + 2 * samples  # three for the index, two for each sample
    command = ["pretrain", "--preset", tmp_path / "pretrain.yaml", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "maskdcpt_cli", *command, "--run-dir", tmp_path / "killed"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(server.requests) <= server.stops_after and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.stops_after = None
    assert state(tmp_path / "killed")["iteration"] == 3
    rest = steps(train(preset, tmp_path / "killed", resume=True))
    whole = steps(train(preset, tmp_path / "whole"))
    assert [step.losses for step in rest] == [step.losses for step in whole[3:]]
    assert not differing(state(tmp_path / "killed"), state(tmp_path / "whole"))


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_a_run_whose_server_goes_away_is_saved_and_resumes(server, tmp_path, kind):
    preset = preset_of(tmp_path, server, kind=kind)
    seen: list[Step] = []

    def lose_the_server() -> None:
        for event in train(preset, tmp_path / "broken"):
            seen.extend(steps([event]))
            server.always = "503" if len(seen) == 3 else ""

    with pytest.raises(MaskDCPTError, match="after 3 attempts: the server answers 503"):
        lose_the_server()
    assert state(tmp_path / "broken")["iteration"] == 3
    server.always = ""
    seen += steps(train(preset, tmp_path / "broken", resume=True))
    whole = steps(train(preset, tmp_path / "whole"))
    assert [step.losses for step in seen] == [step.losses for step in whole]
    assert not differing(state(tmp_path / "broken"), state(tmp_path / "whole"))
