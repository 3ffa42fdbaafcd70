"""Results that are among the inputs, and inputs that are targets."""

from pathlib import Path

import pytest

from tests.inference.test_plan import BESIDE, log, pairs, planned, touch


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("given", ["in", "in/**/*", "in/*"])
def test_results_in_a_folder_inside_the_input_are_not_inputs(given):
    touch("in/a.jpg", "in/sub/b.jpg", "in/out/a.jpg", "in/out/sub/b.jpg")
    assert pairs(planned(given, out="in/out")) == {
        "in/a.jpg": "in/out/a.jpg",
        "in/sub/b.jpg": "in/out/sub/b.jpg",
    }


@pytest.mark.parametrize(
    ("options", "results"),
    [
        ({"name": BESIDE}, ["in/a_restored.jpg", "in/sub/b_restored.jpg"]),
        ({"format": "png"}, ["in/a.png", "in/sub/b.png"]),
        ({"name": "{stem}-{model}{suffix}"}, ["in/a-tiny.jpg", "in/sub/b-nafnet-5d.jpg"]),
    ],
)
def test_a_second_run_in_place_does_not_restore_its_results(options, results):
    touch("in/a.jpg", "in/sub/b.jpg", *results)
    log(dict(zip(results, ["in/a.jpg", "in/sub/b.jpg"], strict=True)))
    result = planned("in", out="in", **options)
    assert set(pairs(result)) == {"in/a.jpg", "in/sub/b.jpg"}
    assert result.results == 2
    assert not result.problems


def test_a_second_run_in_place_does_not_restore_its_results_and_sheets():
    touch("in/a.jpg", "in/sub/b.jpg", "in/a_restored.jpg", "in/a_restored.jpg.compare.jpg")
    log({"in/a_restored.jpg": "in/a.jpg"})
    result = planned("in", out="in", name=BESIDE)
    assert set(pairs(result)) == {"in/a.jpg", "in/sub/b.jpg"}
    assert result.results == 2
    assert not result.problems


def test_a_run_in_place_resumes_where_a_result_has_another_format_than_its_photo():
    touch("in/a.nef", "in/b.nef", "in/a.tiff")
    log({"in/a.tiff": "in/a.nef"})
    result = planned("in", out="in")
    assert pairs(result) == {"in/a.nef": "in/a.tiff", "in/b.nef": "in/b.tiff"}
    assert result.results == 1
    assert not result.problems


def test_a_result_is_known_after_its_photo_has_changed():
    touch("in/a.jpg", "in/a_restored.jpg")
    log({"in/a_restored.jpg": "in/a.jpg"})
    Path("in/a.jpg").write_bytes(b"edited")
    result = planned("in", out="in", name=BESIDE)
    assert pairs(result) == {"in/a.jpg": "in/a_restored.jpg"}
    assert result.results == 1


def test_a_result_is_known_after_its_template_has_changed():
    touch("in/a.jpg", "in/a_restored.jpg")
    log({"in/a_restored.jpg": "in/a.jpg"})
    result = planned("in", out="in", name="{stem}-2{suffix}")
    assert pairs(result) == {"in/a.jpg": "in/a-2.jpg"}


def test_a_photo_of_the_users_own_is_no_result_by_its_name():
    touch("in/a.jpg", "in/a_restored.jpg", "in/b.jpg")
    log({"in/b_restored.jpg": "in/b.jpg"})
    result = planned("in", out="in", name=BESIDE)
    assert pairs(result) == {
        "in/a_restored.jpg": "in/a_restored_restored.jpg",
        "in/b.jpg": "in/b_restored.jpg",
    }
    (problem,) = result.problems
    assert "would overwrite the input 'in/a_restored.jpg'" in problem.reason


def test_results_of_other_photos_are_restored_again_where_they_are_the_input():
    touch("in/a.jpg", "out/a.jpg")
    Path("in/a.jpg").write_bytes(b"the photo")
    log({"out/a.jpg": "in/a.jpg"})
    for to in ("out", "again"):
        assert pairs(planned("out", out=to, name=BESIDE)) == {"out/a.jpg": f"{to}/a_restored.jpg"}


def test_an_input_is_never_the_target_of_another():
    touch("x/a.jpg", "x/c.jpg", "y/a.jpg")
    result = planned("x/a.jpg", "x/c.jpg", "y/a.jpg", out="y")
    assert pairs(result) == {"x/c.jpg": "y/c.jpg"}
    assert [problem.reason for problem in result.problems] == [
        "The result of 'x/a.jpg' would overwrite the input 'y/a.jpg'.",
        "The result of 'y/a.jpg' would overwrite the input 'y/a.jpg'.",
    ]
