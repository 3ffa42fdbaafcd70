"""Nothing reports that it is used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_openvino_does_not_report_its_use(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    code = (
        "from maskdcpt_cli.inference.backends import open_engine\n"
        "from maskdcpt_cli.models import build_backbone\n"
        "open_engine(build_backbone('nafnet', width=4), device='cpu', backend='openvino')"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    environment.pop("CI", None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.glob("[iI]ntel*"))
