"""What is not exported, or not taken for an exported network: each is one sentence."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from maskdcpt_cli.errors import BackendError, CheckpointError, MaskDCPTError
from maskdcpt_cli.inference import backends
from maskdcpt_cli.inference.backends import BACKENDS, open_engine
from maskdcpt_cli.inference.exporting.export import SIZES, export_model
from maskdcpt_cli.inference.exporting.forms import FORMS, form_of_file, form_to_write
from maskdcpt_cli.inference.exporting.load import load_exported
from maskdcpt_cli.weights.zoo import load_model
from tests.inference.exporting import Exported, few
from tests.inference.test_backends import example, needs, restored_by
from tests.small import small

every_form = pytest.mark.parametrize("form", FORMS)


class BySize(nn.Module):
    """A residual of which a graph holds the branch for one size alone."""

    def forward(self, lq: Tensor, *_given: object, **_request: object) -> Tensor:
        return lq * (0.1 if lq.shape[-1] > 80 else 0.11)


@every_form
@pytest.mark.parametrize("residual", [BySize(), lambda lq, *_given, **_request: lq * torch.nan])
def test_a_file_that_differs_is_refused_and_nothing_is_written(
    residual: object, form: str, tmp_path: Path
) -> None:
    needs(FORMS[form].backend)
    model = few("swinir")
    object.__setattr__(model, "residual", residual)
    path = tmp_path / f"network{FORMS[form].suffixes[0]}"
    path.write_text("as it was")
    parities = export_model(model, path, overwrite=True)
    with pytest.raises(MaskDCPTError, match=r"dB from the original one, .* 60 dB are needed: '.*'"):
        list(parities)
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_form_cannot_hold_is_one_sentence(tmp_path: Path) -> None:
    needs("onnx")
    model = few("swinir")
    object.__setattr__(model, "residual", lambda lq, *_given, **_request: torch.linalg.svd(lq)[0])
    with pytest.raises(MaskDCPTError, match=r"^This network cannot be exported to ONNX: .*\.$"):
        list(export_model(model, tmp_path / "a.onnx"))
    assert not list(tmp_path.iterdir())


def test_parity_is_measured_at_sizes_that_need_padding_and_in_tiles(tmp_path: Path) -> None:
    parities = list(export_model(few("nafnet"), tmp_path / "a.ts"))
    assert [one.size for one in parities if not one.in_tiles] == list(SIZES)
    assert any(height % 2 and width % 2 for height, width in SIZES)
    assert [str(one) for one in parities if one.in_tiles] == ["150x211 in tiles"]


@pytest.mark.parametrize(
    ("name", "to", "sentence"),
    [
        ("a.safetensors", None, r"'a\.safetensors' ends in none of the suffixes of a form: \.onnx"),
        ("a", None, r"\.onnx \(ONNX\), \.xml \(OpenVINO\), \.ts or \.pt \(TorchScript\)\.$"),
        ("a.onnx", "openvino", r"'a\.onnx' ends in none .* a form: \.xml \(OpenVINO\)\.$"),
        ("a.onnx", "onyx", r"^Unknown form 'onyx'\. Did you mean 'onnx'\?"),
    ],
)
def test_a_file_of_another_suffix_is_refused(name: str, to: str | None, sentence: str) -> None:
    with pytest.raises(MaskDCPTError, match=sentence):
        list(export_model(few("nafnet"), name, to=to))


@pytest.mark.parametrize("name", ["a.onnx", "a.xml", "a.bin", "a.ts"])
def test_a_file_that_exists_is_not_replaced_unless_asked(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    path = tmp_path / name.replace(".bin", ".xml")
    with pytest.raises(MaskDCPTError, match=rf"{name}' exists; overwrite=True replaces it\.$"):
        list(export_model(few("nafnet"), path))
    needs(form_to_write(path).backend)
    list(export_model(few("nafnet"), path, overwrite=True))
    assert open_engine(load_exported(path))(example((8, 8))).shape == (1, 3, 8, 8)


def test_a_graph_does_not_appear_without_its_weights(tmp_path: Path) -> None:
    needs("openvino")
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(MaskDCPTError, match=r"Cannot write '.*a\.bin': Is a directory"):
        list(export_model(few("nafnet"), tmp_path / "a.xml", overwrite=True))
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_library_that_is_not_installed_is_named(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{FORMS[form].suffixes[0]}"
    path.touch()
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    for refused in (
        lambda: load_exported(path),
        lambda: list(export_model(few("nafnet"), path, overwrite=True)),
    ):
        with pytest.raises(BackendError, match=rf"pip install 'maskdcpt\[{form}\]'"):
            refused()


def copied(path: Path, folder: Path) -> Path:
    """Copy an exported network to a folder."""
    for file in path.parent.iterdir():
        shutil.copy(file, folder)
    return folder / path.name


def foreign(path: Path, form: str) -> None:
    """Write a small network of another program."""
    layer = nn.Conv2d(3, 3, 1)
    if form == "onnx":
        torch.onnx.export(layer, (torch.zeros(1, 3, 8, 8),), path, dynamo=False)
        return
    from maskdcpt_cli.inference.backends.tracing import trace

    if form == "torchscript":
        torch.jit.save(trace(layer, (torch.zeros(1, 3, 8, 8),)), path)
        return
    from maskdcpt_cli.inference.backends.openvino import convert, openvino

    graph = convert(layer, (torch.zeros(1, 3, 8, 8),))
    openvino.serialize(graph, path, path.with_suffix(".bin"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@every_form
def test_a_network_of_another_program_is_one_sentence(form: str, tmp_path: Path) -> None:
    needs(FORMS[form].backend)
    path = tmp_path / f"a{FORMS[form].suffixes[0]}"
    foreign(path, form)
    with pytest.raises(CheckpointError, match=r"is a network of another program: .* export` wrote"):
        load_exported(path)


@every_form
def test_a_damaged_file_is_one_sentence(form: str, tmp_path: Path, exported: Exported) -> None:
    path = copied(exported("nafnet", form), tmp_path)
    content = path.read_bytes()
    damaged = content.index(b"/code/") + 100 if form == "torchscript" else 0
    path.write_bytes(content[:damaged] + bytes(100) + content[damaged + 100 :])
    with pytest.raises(CheckpointError, match=rf"is damaged, or no {FORMS[form].title} file"):
        load_exported(path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"is no exported|cannot be opened: No such file"):
        load_exported(path)


def test_an_openvino_file_needs_its_weights_beside_it(tmp_path: Path, exported: Exported) -> None:
    path = copied(exported("nafnet", "openvino"), tmp_path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(CheckpointError, match=r"network\.bin cannot be opened: No such file"):
        load_exported(path)


@pytest.mark.parametrize(
    ("entry", "other"), [("format&quot;:1", "format&quot;:2"), (",&quot;H&quot;", "")]
)
def test_metadata_of_a_later_format_or_damaged_is_one_sentence(
    entry: str, other: str, tmp_path: Path, exported: Exported
) -> None:
    path = copied(exported("nafnet-instruct", "openvino"), tmp_path)
    content = path.read_text()
    assert entry in content
    path.write_text(content.replace(entry, other))
    with pytest.raises(CheckpointError, match="metadata that this version of maskdcpt does not"):
        load_exported(path)


@every_form
@pytest.mark.parametrize(
    "options", [{"device": "cuda"}, {"precision": "bf16"}, {"backend": "another"}]
)
def test_how_an_exported_network_runs_is_said_by_its_file(
    options: dict[str, str], form: str, exported: Exported
) -> None:
    network = load_exported(exported("nafnet", form))
    ((name, value),) = options.items()
    with pytest.raises(BackendError, match=f"runs by {name} '.*', not '{value}': use --{name}"):
        open_engine(network, **options)
    own = open_engine(network, device="cpu", precision="fp32", backend=FORMS[form].backend)
    assert own.backend in BACKENDS


def test_weights_that_end_as_torchscript_does_are_weights(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    model = small("nafnet")
    torch.save({"params": model.state_dict()}, path)
    assert form_of_file(path) is None
    assert restored_by(load_model(path), example((8, 8))).shape == (1, 3, 8, 8)
    with pytest.raises(CheckpointError, match=r"a\.pt is no exported network\."):
        load_exported(path)
    list(export_model(model, path, overwrite=True))
    assert form_of_file(path) == FORMS["torchscript"]
    assert load_exported(path).metadata.backbone == "nafnet"
