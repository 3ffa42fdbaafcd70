"""Exported networks: the pixels of their origin, and a clear sentence for what is refused."""

import shutil
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from maskdcpt_cli.errors import BackendError, CheckpointError, MaskDCPTError
from maskdcpt_cli.inference import backends
from maskdcpt_cli.inference.backends import BACKENDS, Engine, open_engine
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.exporting.export import SIZES, export_model, probe_image
from maskdcpt_cli.inference.exporting.forms import FORMS, form_of_file, form_to_write
from maskdcpt_cli.inference.exporting.load import load_exported
from maskdcpt_cli.inference.restore import restore, restore_folder
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.weights.zoo import load_model
from tests.inference.brighten import ramp
from tests.inference.test_backends import example, needs, restored_by
from tests.small import NETWORKS, calm, small, two_blocks

QUICK = {("swinir", "torchscript"), *product(["nafnet"], FORMS)}
EVERY = [
    pytest.param(name, form, marks=[] if (name, form) in QUICK else pytest.mark.slow)
    for name, form in product(NETWORKS, FORMS)
]
every_form = pytest.mark.parametrize("form", FORMS)
CORNERS = torch.tensor([[0, 0], [0, 0.5], [0.5, 0], [0.5, 0.5]])
BOXES = torch.cat([CORNERS, torch.full((4, 2), 0.5)], dim=1)
REQUESTS = [torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]]), torch.zeros(1, 3)]
TYPES = ("GN", "H", "J")

pytestmark = pytest.mark.usefixtures("narrow_prompts")


Exported = Callable[..., Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return a function that exports a network with few blocks, once for all tests."""

    @cache
    def once(name: str, form: str, **options: object) -> Path:
        needs(FORMS[form].backend)
        path = tmp_path_factory.mktemp(name) / f"network{FORMS[form].suffixes[0]}"
        model = few(name, **options)
        model.requests = TYPES[: model.request_types]
        assert all(parity.psnr > 100 for parity in export_model(model, path))
        return path

    return once


def few(name: str, **options: object) -> Backbone:
    return calm(name, **two_blocks(name), **options)


def original(model: Backbone) -> Engine:
    return open_engine(model, device="cpu", precision="fp32", backend="torch")


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "form"), EVERY)
def test_every_network_in_every_form_gives_its_pixels(
    name: str, form: str, exported: Exported
) -> None:
    model = few(name)
    engine = open_engine(load_exported(exported(name, form)))
    for size in [(48, 80), (1, 1), (37, 23), (100, 9), (48, 80)]:
        close(engine(example(size)), restored_by(model, example(size)))
    close(engine(example((40, 24), batch=3)), restored_by(model, example((40, 24), batch=3)))
    for some in (slice(0, 4), slice(1, 3)):
        samples = example((64, 64), batch=4)[some], BOXES[some]
        ours, theirs = (one.record(*samples) for one in (engine, original(model)))
        for lq, box in ((samples[0][:1], BOXES[:1]), (example((96, 64)), BOXES[3:])):
            close(ours(lq, box), theirs(lq, box))


@pytest.mark.parametrize(
    ("name", "form"), [case for case in EVERY if str(case.values[0]).endswith("instruct")]
)
def test_a_request_is_an_input(name: str, form: str, exported: Exported) -> None:
    model = few(name)
    engine = open_engine(load_exported(exported(name, form)))
    lq, tiles = example((40, 24)), example((64, 64), batch=4)
    for request in REQUESTS:
        with torch.inference_mode():
            close(engine.asked(request)(lq), model(lq, request))
        ours, theirs = (
            one.asked(request).record(tiles, BOXES)(tiles[:1], BOXES[:1])
            for one in (engine, original(model))
        )
        close(ours, theirs)
    assert torch.equal(engine.asked(REQUESTS[-1])(lq), lq)
    with pytest.raises(ValueError, match=r"can be asked for 3 types, and the request is \(1, 5\)"):
        engine.asked(torch.ones(1, 5))


@every_form
def test_a_network_that_is_padded_with_zeros_stays_so(form: str, exported: Exported) -> None:
    model = few("nafnet", padding="zeros")
    engine = open_engine(load_exported(exported("nafnet", form, padding="zeros")))
    for size in [(37, 23), (48, 80), (1, 1)]:
        close(engine(example(size)), restored_by(model, example(size)))


@every_form
def test_a_photo_is_restored_as_by_the_weights(form: str, exported: Exported) -> None:
    model, network = few("nafnet"), load_exported(exported("nafnet", form))
    for tile, size in product([0, 64], [(150, 211), (100, 90)]):
        settings = Settings(tile=tile, overlap=16)
        image = (255 * probe_image(size)[0].permute(1, 2, 0).numpy()).astype(np.uint8)
        ours, theirs = (restore(one, image, settings=settings) for one in (network, model))
        assert np.abs(ours.astype(int) - theirs).max() <= 1
        assert np.abs(ours.astype(int) - image).max() > 10


@every_form
def test_tiles_and_samples_are_those_of_the_weights(form: str, exported: Exported) -> None:
    model = few("nafnet")
    ours = open_engine(load_exported(exported("nafnet", form)))
    theirs = open_engine(model, device="cpu", precision="fp32", backend=FORMS[form].backend)
    assert ours.bytes_per_pixel == theirs.bytes_per_pixel
    assert ours.peak_bytes(512) == theirs.peak_bytes(512)
    assert (ours.size_multiple, ours.pad) == (theirs.size_multiple, theirs.pad)
    assert ours.describe() == theirs.describe()
    assert ours.in_fp32() is ours


@every_form
def test_types_are_named_in_the_file_and_removed_by_name(form: str, exported: Exported) -> None:
    model, network = few("nafnet-instruct"), load_exported(exported("nafnet-instruct", form))
    assert network.requests == TYPES
    model.requests = TYPES
    image = ramp(40, 50, 3)
    results = []
    for remove in (("noise",), ("noise", "jpeg")):
        ours, theirs = (restore(one, image, remove=remove) for one in (network, model))
        assert np.abs(ours.astype(int) - theirs).max() <= 1
        results.append(ours)
    assert not np.array_equal(*results)
    with pytest.raises(MaskDCPTError, match="does not know snow: it removes noise, haze, jpeg"):
        restore(network, image, remove=("snow",))


@every_form
def test_a_second_run_skips_what_the_same_file_restored(
    form: str, tmp_path: Path, photos: Path, exported: Exported
) -> None:
    own, other = exported("nafnet", form), exported("nafnet", form, padding="zeros")
    for path, status in ((own, "restored"), (own, "skipped"), (other, "failed")):
        outcomes = restore_folder(load_exported(path), photos, tmp_path / "out")
        assert {one.status for one in outcomes} == {status}


def test_an_onnx_file_is_run_by_the_names_of_its_inputs(exported: Exported) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model, lq = few("nafnet-instruct"), example((37, 23))
    session = onnxruntime.InferenceSession(exported("nafnet-instruct", "onnx"))
    shapes = {one.name: one.shape for one in session.get_inputs()}
    assert list(shapes) == ["lq", "request", "boxes", "recorded"]
    given = {
        "lq": lq.numpy(),
        "request": REQUESTS[0].numpy(),
        "boxes": np.zeros((0, 4), np.float32),
        "recorded": np.zeros((0, shapes["recorded"][1]), np.float32),
    }
    restored, pooled = session.run(["restored", "pooled"], given)
    with torch.inference_mode():
        close(torch.from_numpy(restored), model(lq, REQUESTS[0]))
    again = session.run(["restored"], {**given, "recorded": pooled})[0]
    close(torch.from_numpy(again), torch.from_numpy(restored))


@every_form
def test_the_network_that_is_exported_stays_as_it_was(form: str, tmp_path: Path) -> None:
    needs(FORMS[form].backend)
    model = few("swinir").train()
    before = [*model.state_dict()]
    list(export_model(model, tmp_path / f"a{FORMS[form].suffixes[0]}"))
    assert model.training
    assert [*model.state_dict()] == before


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
