"""The ablations of the mask: which runs they are, and the figures of the paper."""

import pytest

from maskdcpt_cli.benchmarking.ablation import ABLATIONS, AblationSettings, plan, rows
from maskdcpt_cli.benchmarking.published import paper_results
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.training.inputs import TrainingData
from tests.benchmarking.layouts import crops
from tests.datasets import save


@pytest.fixture
def settings(tmp_path):
    (crop,) = crops(1)
    for number in range(10):
        save(tmp_path / "photos" / f"{number}.png", crop)
    data = TrainingData(photos=tmp_path / "photos", setting="5d")
    return AblationSettings(tmp_path / "runs", "tiny", data, seeds=2)


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_masks_of_an_ablation_are_the_rows_of_the_papers_table(name):
    ablation = ABLATIONS[name]
    printed = [str(value).replace("_", "-") for value in paper_results()[ablation.content]]
    assert [mask.value for mask in ablation.masks] == printed


def test_runs_differ_in_the_mask_and_the_seed_and_fine_tuning_begins_with_pre_training(settings):
    runs = plan(ABLATIONS["mask-ratio"], settings)
    assert [run.value for run in runs[::2]] == ["0", "25", "50", "75"]
    assert [run.pretraining.mask.ratio for run in runs[::2]] == [0, 0.25, 0.5, 0.75]
    assert [run.pretraining.heads.clean_pass for run in runs[::2]] == [True, False, False, False]
    for run in runs:
        assert run.pretraining.training.seed == run.finetuning.training.seed == run.seed
        assert run.pretraining.backbone == run.finetuning.backbone == "promptir"
        began = run.finetuning.initialise_from
        assert began == str(run.folder / "pretrain" / "final.safetensors")
    assert not settings.folder.exists()


def test_the_masks_of_the_paper_are_trained_once_for_all_ablations(settings):
    folders = {name: {r.folder for r in plan(ABLATIONS[name], settings)} for name in ABLATIONS}
    shared = set.intersection(*folders.values())
    assert {folder.name for folder in shared} == {"random-0.5-16-seed0", "random-0.5-16-seed1"}
    assert len(set.union(*folders.values())) == 2 * (4 + 3 + 2)


def test_what_cannot_be_used_is_refused_before_anything_is_trained(settings):
    (settings.folder.parent / "photos" / "0.png").unlink()
    with pytest.raises(MaskDCPTError, match="too few images to hold some out"):
        plan(ABLATIONS["method"], settings)


def test_a_row_has_the_figures_of_all_seeds_and_of_the_paper(settings):
    runs = plan(ABLATIONS["patch-size"], settings)
    labels = ("GN", "H", "RS", "MB", "LL")
    for number, run in enumerate(runs):
        (run.folder / "finetune").mkdir(parents=True)
        scores = ", ".join(f'"{label}": {{"psnr": {20 + number}}}' for label in labels)
        lines = ('{"scores": {"H": {"psnr": 1}}}', f'{{"scores": {{{scores}}}}}', '{"loss": 1}')
        (run.folder / "finetune" / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = rows(ABLATIONS["patch-size"], runs)
    assert found[1].psnr == dict.fromkeys(labels, (22.0, 23.0))
    assert [*found[1].psnr] == ["H", "RS", "GN", "MB", "LL"]  # as in the paper
    assert list(found[2].paper.items())[:2] == [("H", 32.71), ("RS", 39.12)]


def test_other_degradations_have_no_figures_of_the_paper(settings):
    runs = plan(ABLATIONS["method"], settings)
    for run in runs:
        (run.folder / "finetune").mkdir(parents=True)
        line = '{"scores": {"S": {"psnr": 30}, "H": {"psnr": 20}}}'
        (run.folder / "finetune" / "log.jsonl").write_text(line, encoding="utf-8")
    found = rows(ABLATIONS["method"], runs)
    assert [[*row.psnr] for row in found] == [["S", "H"]] * 3
    assert not any(row.paper for row in found)
