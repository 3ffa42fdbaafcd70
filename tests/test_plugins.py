"""Modules whose tables add to those of maskdcpt: which are found, and which are refused."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from maskdcpt_cli.data.sets import DEFAULT_SYNTHESIS, from_photos, from_preset
from maskdcpt_cli.degradations import DEGRADATIONS, LABELS, SETTINGS, find, slugs
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.models import BACKBONES, build_backbone
from maskdcpt_cli.plugins import (
    TABLES,
    VARIABLE,
    Registry,
    check_there,
    needed,
    source_state,
    use_plugin,
)
from maskdcpt_cli.presets.data import Folders, TrainPart
from maskdcpt_cli.synthesis.table import degrade
from maskdcpt_cli.training.losses import LOSSES
from maskdcpt_cli.training.task import init_backbone, options_of
from maskdcpt_cli.weights.building import build
from maskdcpt_cli.weights.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from tests.small import small, small_options
from tests.training.runs import differing, finetuning


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str, *, folder: str = ".") -> str:
    Path(folder, f"{name}.py").write_text(dedent(text), encoding="utf-8")
    return name


def test_rows_are_added_after_those_of_maskdcpt():
    before = [list(table) for table in (LABELS, SETTINGS, LOSSES)]
    use_plugin(
        write(
            "plug_rows",
            """
            from maskdcpt_cli.degradations import Degradation, SETTINGS
            DEGRADATIONS = {"ZZ": Degradation("dust", "dust", "noise")}
            SETTINGS = {"dusty": ("ZZ", *SETTINGS["derain"])}
            LOSSES = {"none": "plug_rows:none"}
            def none(restored, lq, gt): return 0
            """,
        )
    )
    after = [list(table) for table in (LABELS, SETTINGS, LOSSES)]
    assert after == [
        [*rows, one] for rows, one in zip(before, ["ZZ", "dusty", "none"], strict=True)
    ]
    assert (find("dust"), find("zz"), slugs()[-1]) == ("ZZ", "ZZ", "dust")
    assert (SETTINGS["dusty"], LOSSES["none"](1, 2, 3)) == (("ZZ", "RS"), 0)
    assert (len(DEGRADATIONS), "ZZ" in SETTINGS["all"]) == (20, False)
    assert needed(DEGRADATIONS=["H", "ZZ"], LOSSES=["l1"]) == ("plug_rows",)
    lacking = pytest.raises(MaskDCPTError, match=r"'dust' cannot be synthesised.* give pairs\.")
    with lacking:
        degrade(None, "dust", None)
    clean = TrainPart(degradation="ZZ", sources=(Folders(name="photos", gt="{n}"),))
    with lacking:
        from_preset([clean], Path())
    Path("photos").mkdir()
    Path("photos/a.png").touch()
    with lacking:
        from_photos(Path("photos"), [("ZZ", DEFAULT_SYNTHESIS)])


def test_weights_need_no_plugin_for_the_name_of_a_label(monkeypatch: pytest.MonkeyPatch):
    use_plugin(
        write(
            "plug_label",
            """
            from maskdcpt_cli.degradations import Degradation
            DEGRADATIONS = {"ZY": Degradation("dirt", "dirt", "noise")}
            """,
        )
    )
    model = small("nafnet")
    weights = model.state_dict()
    options = small_options("nafnet")
    for name, labels in (("with", ("ZY", "H")), ("without", ("GN", "H"))):
        file = Path(f"{name}.safetensors")
        save_checkpoint(Checkpoint("nafnet", options, weights, degradations=labels), file)
    monkeypatch.setenv(VARIABLE, "")
    read = read_checkpoint(Path("with.safetensors"))
    assert (read.plugins, read.degradations) == (("plug_label",), ("ZY", "H"))
    assert b"plugins" not in Path("without.safetensors").read_bytes()


def test_without_a_plugin_nothing_is_needed():
    assert needed(BACKBONES=BACKBONES, DEGRADATIONS=LABELS, LOSSES=LOSSES) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("LOSSES = {'l1': 1}", "has a 'l1' in LOSSES, and maskdcpt itself has one, too"),
        ("BACKBONES = {'swinir': 1}", "has a 'swinir' in BACKBONES"),
        ("LOSSES = {'a b': 1}", "has 'a b' in LOSSES; valid are names of"),
        ("LOSS = {'mine': 1}", f"it has none of the tables {', '.join(TABLES)}."),
        ("SETTINGS = {'s': ('H', 'QQ')}", "not valid: Unknown degradation 'QQ'"),
        ("SETTINGS = {'s': ('H', 'H')}", "it has to be a tuple of different labels"),
        ("DEGRADATIONS = {'QQ': 'dust'}", "it has to be a Degradation"),
        (
            "from maskdcpt_cli.degradations import Degradation\n"
            "DEGRADATIONS = {'QQ': Degradation('haze', 'haze', 'noise')}",
            "its label or its slug is that of another degradation",
        ),
        (
            "import maskdcpt_cli.synthesis.table\nSYNTHESIS = {'QQ': 1}",
            "there is no such degradation",
        ),
        ("import no_such_library", "cannot be imported: ModuleNotFoundError: No module named"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero."),
    ],
)
def test_a_plugin_that_cannot_be_used_is_refused_with_the_reason(text, reason, request):
    name = write(f"plug_bad{abs(hash(text))}", text)
    with pytest.raises(MaskDCPTError) as error:
        use_plugin(name)
    assert name in str(error.value)
    assert reason in str(error.value)
    assert os.environ[VARIABLE] == ""
    assert "l1" in LOSSES


def test_two_plugins_may_not_have_one_name():
    use_plugin(write("plug_one", "LOSSES = {'mine': 1}"))
    write("plug_two", "LOSSES = {'mine': 2}")
    with pytest.raises(MaskDCPTError, match=r"'plug_two' has a 'mine' in LOSSES, and 'plug_one'"):
        use_plugin("plug_two")
    assert LOSSES["mine"] == 1


def test_a_table_that_is_made_after_the_plugin_is_checked_too():
    use_plugin(write("plug_late", "METRICS = {'late': 1}"))
    with pytest.raises(MaskDCPTError, match="has a 'late' in METRICS"):
        Registry("METRICS", {"late": 2})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plug_nowhere", "There is no plugin 'plug_nowhere'"),
        ("a/b.py", "is not the name of a module"),
        ("json", "'json' is no plugin of maskdcpt"),
    ],
)
def test_what_is_no_plugin_is_named(name, reason):
    with pytest.raises(MaskDCPTError, match=reason):
        use_plugin(name)


def test_a_row_of_text_that_names_nothing_is_one_sentence():
    use_plugin(write("plug_text", "LOSSES = {'gone': 'plug_text:gone'}"))
    with pytest.raises(MaskDCPTError, match=r"'plug_text:gone', a row of a plugin, cannot be used"):
        LOSSES["gone"]


def test_a_plugin_that_is_missing_is_named_with_what_to_type():
    with pytest.raises(MaskDCPTError, match=r"It needs the plugin 'gone': .*--plugin gone and"):
        check_there(["gone"], by="It")


def test_installed_packages_name_their_module_by_an_entry_point(tmp_path: Path):
    """Also that built-in names look nothing up, so that they start as quickly as without."""
    info = tmp_path / "site" / "plug_dist-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-dist\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[maskdcpt.plugins]\nany = plug_dist\n")
    write("plug_dist", "SETTINGS = {'installed': ('H',)}", folder="site")
    code = """
        import sys
        from maskdcpt_cli.cli import main
        from maskdcpt_cli.degradations import SETTINGS, find
        main(["--help"], standalone_mode=False)
        SETTINGS["5d"], find("haze")
        looked_up = {"importlib.metadata", "plug_dist"} & sys.modules.keys()
        print(sorted(looked_up), SETTINGS["installed"])
    """
    path = os.pathsep.join([str(tmp_path / "site"), str(Path(__file__).parents[1])])
    env = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", dedent(code)]
    done = subprocess.run(command, check=True, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[] ('H',)"


def test_a_backbone_may_use_what_initialisation_returns_and_not_the_name_of_the_classifier(
    tmp_path: Path,
):
    use_plugin(
        write(
            "plug_network",
            """
            import torch
            from torch import nn
            from maskdcpt_cli.models.nafnet import NAFNet

            BACKBONES = {"plugnet": "plug_network:PlugNet", "clashing": "plug_network:Clashing"}

            class PlugNet(NAFNet):
                telltale = "scale"

                def __init__(self, **options):
                    super().__init__(**options)
                    self.scale = nn.Parameter(nn.init.normal_(torch.empty(3)))

            class Clashing(PlugNet):
                telltale = "classifier.weight"

                def __init__(self, **options):
                    super().__init__(**options)
                    self.classifier = nn.Linear(2, 2)
            """,
        )
    )
    options = small_options("nafnet")
    network = build_backbone("plugnet", **options)
    file = tmp_path / "weights.safetensors"
    assert not network.unusual_options()
    assert build_backbone("plugnet", **options, padding="zeros").unusual_options() == {
        "padding": "zeros"
    }
    save_checkpoint(Checkpoint("plugnet", options_of(network), network.state_dict()), file)
    assert build(read_checkpoint(file)).scale.equal(network.scale)
    preset = finetuning(backbone="clashing", sizes={"clashing": options})
    with pytest.raises(MaskDCPTError, match=r"clashing has a tensor 'classifier\.weight'"):
        init_backbone(preset, ("H",))


def test_the_state_of_plugins_changes_with_their_files():
    use_plugin(write("plug_recorder", "RECORDERS = {'plug-recorder': print}"))
    assert source_state() == ""
    Path("plug_state").mkdir()
    write("__init__", "", folder="plug_state")
    write("plugin", "METRICS = {'plug-state': 'plug_state.metrics:mine'}", folder="plug_state")
    metrics = write("metrics", "mine = 1", folder="plug_state")
    use_plugin("plug_state.plugin")
    before = source_state()
    assert before == source_state() != ""
    write(metrics, "mine = 2", folder="plug_state")
    Path("plug_state/.#lock.py").symlink_to("gone")
    assert source_state() != before


@pytest.mark.parametrize("widths", [[[4], [6]], ((4,), (6,))], ids=["lists", "tuples"])
@pytest.mark.parametrize("name", ["listed", "tied"])
def test_options_in_lists_and_a_layer_of_two_names_come_back_from_a_file(name, widths):
    use_plugin(
        write(
            "plug_layers",
            """
            from torch import nn
            from maskdcpt_cli.models.backbone import Backbone

            BACKBONES = {"listed": "plug_layers:Listed", "tied": "plug_layers:Tied"}

            class Listed(Backbone):
                options = ("widths",)
                telltale = "layers.1.weight"

                def __init__(self, *, widths):
                    super().__init__()
                    self.widths = widths
                    self.layers = nn.ModuleList(nn.Conv2d(3, width, 1) for (width,) in widths)

                @classmethod
                def options_from(cls, shapes):
                    return {"widths": [[shapes[f"layers.{n}.weight"][0]] for n in range(2)]}

            class Tied(Listed):
                telltale = "again.weight"

                def __init__(self, **options):
                    super().__init__(**options)
                    self.again = self.layers[0]
            """,
        )
    )
    network, file = build_backbone(name, widths=widths), Path("weights.safetensors")
    save_checkpoint(Checkpoint(name, options_of(network), network.state_dict()), file)
    again = build(read_checkpoint(file))
    assert (type(again), again.widths) == (type(network), ((4,), (6,)))
    assert not differing(dict(network.state_dict()), dict(again.state_dict()))
