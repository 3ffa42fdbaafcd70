import numpy as np
import pytest
from numpy.random import default_rng

from maskdcpt_cli.scoring.events import Scored
from maskdcpt_cli.scoring.metrics import METRICS
from maskdcpt_cli.scoring.summary import Summary, interval, summarise, worst


def test_the_interval_is_that_of_the_normal_distribution_where_there_are_many():
    values = default_rng(1).normal(30, 2, 1000)
    low, high = interval(values)
    half = 1.96 * values.std() / len(values) ** 0.5
    assert low == pytest.approx(values.mean() - half, rel=1e-3)
    assert high == pytest.approx(values.mean() + half, rel=1e-3)


def test_the_same_figures_give_the_same_interval_and_few_a_wide_one():
    values = np.array([20.0, 30.0, 40.0])
    assert interval(values) == interval(values)
    low, high = interval(values)
    assert (low, high) == (20, 40)
    assert interval(np.array([25.0, 25.0])) == (25, 25)


def test_one_image_has_no_interval():
    assert interval(np.array([20.0])) is None


def test_a_mean_is_over_what_was_measured():
    scored = [
        Scored("a", {"psnr": 20.0, "piqe": 50.0}),
        Scored("b", {"psnr": 30.0}, failed={"piqe": "piqe could not be measured: black."}),
        Scored("c", {}, problem="c cannot be read."),
    ]
    metrics = {name: METRICS[name] for name in ("psnr", "fid", "piqe", "lpips")}
    psnr, fid, piqe = summarise(metrics, scored, {"fid": 12.0})
    assert (psnr.metric, psnr.mean, psnr.images) == ("psnr", 25, 2)
    assert fid == Summary("fid", 12, None, 2)
    assert piqe == Summary("piqe", 50, None, 1)


def test_the_worst_are_those_of_the_first_metric_that_was_measured():
    figures = {"a": 3.0, "b": 1.0, "c": 2.0}
    scored = [Scored(name, {"piqe": value, "psnr": value}) for name, value in figures.items()]
    scored.append(Scored("d", {}, problem="d cannot be read."))
    first = {name: METRICS[name] for name in ("lpips", "psnr", "piqe")}
    assert [one.name for one in worst(first, scored)] == ["b", "c", "a"]
    assert [one.name for one in worst({"piqe": METRICS["piqe"]}, scored, count=2)] == ["a", "c"]
    assert worst({"lpips": METRICS["lpips"]}, scored) == []
