"""`benchmark` as a library calls it."""

import pytest

from maskdcpt_cli import benchmark
from maskdcpt_cli.benchmarking.run import ImageScored, SetFinished
from maskdcpt_cli.errors import MaskDCPTError
from tests.benchmarking.layouts import only
from tests.small import calm


def test_a_benchmark_from_python_measures_a_network_and_goes_on(pairs, tmp_path):
    given = {"pairs": [pairs], "metrics": ["psnr"], "device": "cpu"}
    events = list(benchmark(calm("nafnet"), tmp_path / "out", limit=2, **given))
    (finished,) = only(events, SetFinished)
    assert (finished.result.images, list(finished.result.figures)) == (2, ["psnr"])
    again = list(benchmark(calm("nafnet"), tmp_path / "out", **given))
    assert [one.cached for one in only(again, ImageScored)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "Name the test sets: a data preset, or pairs"),
        ({"data": "5d", "pairs": [("lq", "gt")]}, "Give either pairs or a data preset, not both"),
        ({"data": "6d"}, "Unknown data preset '6d'"),
        ({"data": "5d", "metrics": ["psnrr"]}, "Unknown metric 'psnrr'"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_written(given, sentence, tmp_path):
    with pytest.raises(MaskDCPTError, match=sentence):
        next(benchmark(calm("nafnet"), tmp_path / "out", device="cpu", **given))
    assert not (tmp_path / "out").exists()
