"""Exported networks: the pixels of their origin, in one piece and in tiles."""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference.backends import Engine, open_engine
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.exporting.export import export_model, probe_image
from maskdcpt_cli.inference.exporting.forms import FORMS
from maskdcpt_cli.inference.exporting.load import load_exported
from maskdcpt_cli.inference.restore import restore, restore_folder
from maskdcpt_cli.models import Backbone
from tests.inference.brighten import ramp
from tests.inference.exporting import TYPES, Exported, few
from tests.inference.test_backends import example, needs, restored_by
from tests.small import NETWORKS

QUICK = {("swinir", "torchscript"), *product(["nafnet"], FORMS)}
EVERY = [
    pytest.param(name, form, marks=[] if (name, form) in QUICK else pytest.mark.slow)
    for name, form in product(NETWORKS, FORMS)
]
every_form = pytest.mark.parametrize("form", FORMS)
every_form_at_length = pytest.mark.parametrize(
    "form",
    [pytest.param(one, marks=pytest.mark.slow) if one == "openvino" else one for one in FORMS],
)  # OpenVINO compiles for each size
CORNERS = torch.tensor([[0, 0], [0, 0.5], [0.5, 0], [0.5, 0.5]])
BOXES = torch.cat([CORNERS, torch.full((4, 2), 0.5)], dim=1)
REQUESTS = [torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]]), torch.zeros(1, 3)]
pytestmark = pytest.mark.usefixtures("narrow_prompts")


def original(model: Backbone) -> Engine:
    return open_engine(model, device="cpu", precision="fp32", backend="torch")


assert_close = partial(torch.testing.assert_close, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "form"), EVERY)
def test_every_network_in_every_form_gives_its_pixels(
    name: str, form: str, exported: Exported
) -> None:
    model = few(name)
    engine = open_engine(load_exported(exported(name, form)))
    for size in [(48, 80), (1, 1), (37, 23), (100, 9), (48, 80)]:
        assert_close(engine(example(size)), restored_by(model, example(size)))
    assert_close(engine(example((40, 24), batch=3)), restored_by(model, example((40, 24), batch=3)))
    for some in (slice(0, 4), slice(1, 3)):
        samples = example((64, 64), batch=4)[some], BOXES[some]
        ours, theirs = (one.record(*samples) for one in (engine, original(model)))
        for lq, box in ((samples[0][:1], BOXES[:1]), (example((96, 64)), BOXES[3:])):
            assert_close(ours(lq, box), theirs(lq, box))


@pytest.mark.parametrize(
    ("name", "form"), [case for case in EVERY if str(case.values[0]).endswith("instruct")]
)
def test_a_request_is_an_input(name: str, form: str, exported: Exported) -> None:
    model = few(name)
    engine = open_engine(load_exported(exported(name, form)))
    lq, tiles = example((40, 24)), example((64, 64), batch=4)
    for request in REQUESTS:
        with torch.inference_mode():
            assert_close(engine.with_request(request)(lq), model(lq, request))
        ours, theirs = (
            one.with_request(request).record(tiles, BOXES)(tiles[:1], BOXES[:1])
            for one in (engine, original(model))
        )
        assert_close(ours, theirs)
    assert torch.equal(engine.with_request(REQUESTS[-1])(lq), lq)
    with pytest.raises(ValueError, match=r"can be asked for 3 types, and the request is \(1, 5\)"):
        engine.with_request(torch.ones(1, 5))


@every_form
def test_a_network_that_is_padded_with_zeros_stays_so(form: str, exported: Exported) -> None:
    model = few("nafnet", padding="zeros")
    engine = open_engine(load_exported(exported("nafnet", form, padding="zeros")))
    for size in [(37, 23), (48, 80), (1, 1)]:
        assert_close(engine(example(size)), restored_by(model, example(size)))


@every_form_at_length
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


@every_form_at_length
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
        assert_close(torch.from_numpy(restored), model(lq, REQUESTS[0]))
    again = session.run(["restored"], {**given, "recorded": pooled})[0]
    assert_close(torch.from_numpy(again), torch.from_numpy(restored))


@every_form
def test_the_network_that_is_exported_stays_as_it_was(form: str, tmp_path: Path) -> None:
    needs(FORMS[form].backend)
    model = few("swinir").train()
    before = [*model.state_dict()]
    list(export_model(model, tmp_path / f"a{FORMS[form].suffixes[0]}"))
    assert model.training
    assert [*model.state_dict()] == before
