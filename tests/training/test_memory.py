"""The memory that docs/training.md says a run holds of each network."""

import re
from pathlib import Path

import pytest
import torch

from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.models.maskdcpt import MaskDCPT

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
