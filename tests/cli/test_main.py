import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

from maskdcpt_cli import _version
from maskdcpt_cli.cli import main
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.weights.zoo import ZOO

COMPLETIONS = {"bash": "maskdcpt.bash", "zsh": "_maskdcpt", "fish": "maskdcpt.fish"}
HEAVY = {"torch", "numpy", "PIL", "cv2", "rich", "pydantic", "huggingface_hub"}


@pytest.fixture
def failing(monkeypatch):
    """A command that raises what it is given."""

    def add(error: BaseException) -> None:
        @click.command()
        def fail() -> None:
            raise error

        monkeypatch.setitem(main.commands, "fail", fail)

    return add


def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
    )


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["restore", "--help"],
        ["classify", "--help"],
        ["models", "--help"],
        ["score", "--help"],
    ],
)
def test_help_imports_nothing_heavy(args):
    code = (
        "import sys\n"
        "from maskdcpt_cli.cli import main\n"
        f"main({args!r}, prog_name='maskdcpt', standalone_mode=False)\n"
        f"print({HEAVY!r} & set(sys.modules), file=sys.stderr)"
    )
    result = run("-c", code)
    assert result.stderr == "set()\n"
    assert result.stdout.startswith("Usage: maskdcpt ")


def test_a_tab_imports_nothing_heavy_and_offers_models():
    code = (
        "import sys\n"
        "from maskdcpt_cli.cli import main\n"
        "try: main(prog_name='maskdcpt')\n"
        f"finally: print({HEAVY!r} & set(sys.modules), file=sys.stderr)"
    )
    result = run(
        "-c",
        code,
        env={
            "_MASKDCPT_COMPLETE": "zsh_complete",
            "COMP_WORDS": "maskdcpt restore --model nafnet",
            "COMP_CWORD": "3",
        },
    )
    assert result.stderr.strip() == "set()"
    offered = result.stdout.split("\n")
    assert offered[1::3] == [name for name in ZOO if name.startswith("nafnet")]
    assert offered[2::3] == [ZOO[name].summary for name in ZOO if name.startswith("nafnet")]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("maskdcpt ", [f"plain,{name}" for name in sorted(main.commands)]),
        ("maskdcpt degrade --type rain", ["plain,rain", "plain,raindrop", "plain,rain+raindrop"]),
        ("maskdcpt restore --model tiny", ["plain,tiny-asked", "plain,tiny"]),
        ("maskdcpt classify --model tiny", ["plain,tiny-classifier"]),
        (
            "maskdcpt models show tiny",
            ["plain,tiny-asked", "plain,tiny", "plain,tiny-classifier"],
        ),
        ("maskdcpt restore --model weights/", ["file,weights/"]),
        ("maskdcpt restore --device c", ["plain,cpu", "plain,cuda"]),
        ("maskdcpt restore --tile ", ["plain,auto", "plain,off"]),
        ("maskdcpt restore --existing ", ["plain,skip", "plain,overwrite", "plain,error"]),
        ("maskdcpt restore pho", ["file,pho"]),
        ("maskdcpt pretrain --preset da", ["file,da"]),
        ("maskdcpt pretrain --preset dc", ["plain,dcpt"]),
        ("maskdcpt presets show fine", ["plain,finetune"]),
        ("maskdcpt presets show finetune as", ["plain,asked", "plain,asked-blocks"]),
    ],
)
def test_a_tab_completes(words, offered):
    env = {
        "_MASKDCPT_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    result = CliRunner().invoke(main, [], prog_name="maskdcpt", env=env)
    assert result.stdout.split() == offered


@pytest.mark.parametrize(
    "words",
    [
        ["classify", ""],
        ["restore", "", "-o", "out"],
        ["restore", "a.png", "-o", ""],
        ["degrade", "", "-o", "out", "-t", "noise"],
        ["degrade", "a.png", "-o", "", "-t", "noise"],
    ],
)
def test_an_empty_name_is_not_the_current_folder(words):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "empty" in result.stderr


@pytest.mark.parametrize(("shell", "file"), COMPLETIONS.items())
def test_the_completions_are_what_click_generates(shell, file):
    complete = get_completion_class(shell)
    assert complete is not None
    expected = complete(main, {}, "maskdcpt", "_MASKDCPT_COMPLETE").source()
    if shell == "fish":  # click cuts a list of types at each of its commas
        expected = expected.replace('string split ","', 'string split -m 1 ","')
    kept = Path(__file__).parents[2] / "completions" / file
    assert kept.read_text(encoding="utf-8") == expected


def test_the_module_runs_under_the_programs_name():
    result = run("-m", "maskdcpt_cli", "--version")
    assert result.stdout == f"maskdcpt {_version.__version__}\n"
    assert run("-m", "maskdcpt_cli", "restore").stderr.startswith("Usage: maskdcpt restore ")


def test_an_error_of_ours_is_one_sentence_and_exit_code_1(failing):
    failing(MaskDCPTError("The weights are damaged."))
    result = CliRunner().invoke(main, ["fail"])
    assert (result.exit_code, result.stderr) == (1, "Error: The weights are damaged.\n")
    assert not result.stdout


def test_an_error_of_anyone_else_is_not_hidden(failing):
    failing(ZeroDivisionError("a mistake"))
    assert isinstance(CliRunner().invoke(main, ["fail"]).exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("interrupt", "message"),
    [(KeyboardInterrupt(), "Interrupted.\n"), (KeyboardInterrupt("So far."), "So far.\n")],
)
def test_an_interruption_is_exit_code_130(failing, interrupt, message):
    failing(interrupt)
    result = CliRunner().invoke(main, ["fail"])
    assert (result.exit_code, result.stderr) == (130, message)


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be terminated gently there")
def test_being_terminated_is_being_interrupted(monkeypatch):
    @click.command()
    def wait() -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setitem(main.commands, "wait", wait)
    before = signal.getsignal(signal.SIGTERM)
    assert CliRunner().invoke(main, ["wait"]).exit_code == 130
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("library", ["libGL.so.1", "libxcb.so.1"])
def test_the_wrong_build_of_opencv_is_explained(library, failing):
    failing(ImportError(f"{library}: cannot open shared object file", name="cv2"))
    result = CliRunner().invoke(main, ["fail"])
    assert result.exit_code == 1
    assert library in result.stderr
    assert "--force-reinstall --no-deps opencv-python-headless" in result.stderr


def test_any_other_missing_library_is_not_taken_for_it(failing):
    for error in (
        ImportError("No module named 'surprise'"),
        ModuleNotFoundError("No module named 'cv2'", name="cv2"),
    ):
        failing(error)
        assert CliRunner().invoke(main, ["fail"]).exception is error


def test_an_unknown_command_is_wrong_usage():
    result = CliRunner().invoke(main, ["resotre"])
    assert result.exit_code == 2
    assert "No such command 'resotre'" in result.stderr


def test_what_the_system_refuses_is_a_sentence_with_the_file(failing):
    failing(PermissionError(13, "Permission denied", "/results/a.png"))
    result = CliRunner().invoke(main, ["fail"])
    assert (result.exit_code, result.stderr) == (1, "Error: /results/a.png: Permission denied.\n")


@pytest.mark.parametrize(
    "args",
    [
        ["restore", "a.png", "-o", "out"],
        ["classify", "."],
        ["score", "."],
        ["degrade", ".", "-o", "out", "-t", "haze"],
        ["data", "check", "--data-preset", "5d", "--data-root", "."],
        ["data", "pack", "--photos", ".", "-o", "out"],
        ["models"],
        ["export", "tiny", "-o", "tiny.onnx"],
        ["presets", "show", "tiny"],
        ["pretrain", "--preset", "tiny", "--photos", "."],
        ["finetune", "--preset", "tiny", "--photos", "."],
        ["benchmark", "--pairs", ".", "."],
        ["study", "knn", "--folder", "."],
        ["compare", "a.png", "-o", "grid.png"],
    ],
)
def test_a_removed_current_folder_is_one_sentence_in_every_command(args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 1
    assert result.output == "Error: The current folder is not there any more: cd to another one.\n"
