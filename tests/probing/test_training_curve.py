"""The networks of a training: of a run folder, and of files of weights."""

import shutil

import pytest

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.presets.load import load_data
from maskdcpt_cli.probing.probed_models import ProbedModel
from maskdcpt_cli.probing.training_curve import trained_models
from maskdcpt_cli.training.finetune import Finetuning
from maskdcpt_cli.training.pretrain import Pretraining
from maskdcpt_cli.training.run_folder import begin
from tests.training.runs import LABELS, differing, finetuning, pretraining, started, steps

KEEPING = {"iterations": 3, "training": {"keep_every": 2, "seed": 5}}
TASKS = {"pretrain": (pretraining, Pretraining), "finetune": (finetuning, Finetuning)}


def trained(kind, folder):
    preset = TASKS[kind][0](**KEEPING)
    begin(folder, preset, name=None, kind=kind, command=(), resume=False)
    steps(started(preset, folder))
    return preset


@pytest.mark.parametrize(("kind", "training"), [
    ("pretrain", "pre-training"), ("finetune", "restoration"),
])  # fmt: skip
def test_a_run_has_the_network_it_began_with_its_kept_weights_and_its_result(
    kind, training, tmp_path
):
    preset = trained(kind, tmp_path)
    models = trained_models([tmp_path])
    assert [model.iteration for model in models] == [0, 2, 3]
    assert [model.training for model in models] == ["random", training, training]
    assert {model.name for model in models} == {str(tmp_path)}
    began = TASKS[kind][1](preset, LABELS).backbone.state_dict()
    assert not differing(began, models[0].open().state_dict())
    assert differing(began, models[1].open().state_dict())


def test_a_run_that_began_with_weights_has_them_first(tmp_path):
    trained("pretrain", tmp_path / "pre")
    pre_trained = str(tmp_path / "pre" / "final.safetensors")
    preset = finetuning(**KEEPING, initialise_from=pre_trained)
    begin(tmp_path / "fine", preset, name=None, kind="finetune", command=(), resume=False)
    steps(started(preset, tmp_path / "fine"))
    first, *_ = trained_models([tmp_path / "fine"])
    assert (first.iteration, first.training) == (0, "pre-training")


def test_files_of_a_folder_are_of_one_training_by_iteration(tmp_path):
    trained("finetune", tmp_path / "run")
    kept = tmp_path / "run" / "kept" / "0000002.safetensors"
    for name in ("net_10000", "net_5000"):
        shutil.copy(kept, tmp_path / f"{name}.safetensors")
    models = trained_models(sorted(tmp_path.glob("*.safetensors")))
    assert [model.iteration for model in models] == [5000, 10000]
    assert {model.name for model in models} == {str(tmp_path)}
    shutil.copy(kept, tmp_path / "best.safetensors")
    with pytest.raises(MaskDCPTError, match=r"'.*best\.safetensors' does not end in its iteration"):
        trained_models([tmp_path / "best.safetensors"])


def test_a_folder_without_kept_weights_is_refused(tmp_path):
    with pytest.raises(
        MaskDCPTError, match=r"has no kept weights: train with --set training\.keep"
    ):
        trained_models([tmp_path])


@pytest.mark.parametrize(
    ("training", "iteration", "figure"),
    [
        ("random", 0, "52"), ("pre-training", 25_000, "90"), ("pre-training", 100_000, "98"),
        ("pre-training", 30_000, None), ("pre-training", None, "98"), ("restoration", 25_000, None),
    ],
)  # fmt: skip
def test_figures_of_the_paper_are_those_of_the_iteration(training, iteration, figure):
    model = ProbedModel("x", "nafnet", training, lambda: None, iteration)
    assert (model.paper_figure and model.paper_figure.value) == figure


def test_three_of_five_degradations_are_a_preset_of_data(tmp_path):
    (tmp_path / "3d.yaml").write_text(
        "setting: 5d\nextends: 5d\nonly: [H, RS, GN]\n", encoding="utf-8"
    )
    data = load_data(str(tmp_path / "3d.yaml"))
    assert [part.degradation for part in data.train] == ["H", "RS", "GN"]
    assert [part.degradation for part in data.test] == ["H", "RS", "GN"]
