import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from maskdcpt_cli.images.discover import ignores_case
from maskdcpt_cli.images.reader import PhotoReader
from maskdcpt_cli.inference.events import Job
from maskdcpt_cli.inference.plan import Plan, PlanError, count_pixels, plan

BESIDE = "{stem}_restored{suffix}"


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def log(sources: dict[str, str], *, made_by: str = "e2df0e9ac8861852") -> None:
    """Append to the logs that these results (keys) were made from these sources (values)."""
    for result, source in sources.items():
        status = Path(source).stat()
        line = {
            "name": Path(result).name,
            "made": [made_by, status.st_size, status.st_mtime_ns],
        }
        with Path(result).with_name(".maskdcpt.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def pairs(planned: Plan) -> dict[str, str]:
    return {job.source.as_posix(): job.target.as_posix() for job in planned.jobs}


def planned(*inputs: str, out: str = "out", **options) -> Plan:
    return plan(inputs, Path(out), model="tiny", **options)


def test_names_that_a_disk_takes_for_one_are_not_written_over_one_another(monkeypatch):
    touch("one/a.JPG", "two/A.jpg")
    assert len(planned("one/a.JPG", "two/A.jpg").jobs) == 2
    monkeypatch.setattr("maskdcpt_cli.inference.plan.ignores_case", lambda _folder: True)
    both = planned("one/a.JPG", "two/A.jpg")
    assert pairs(both) == {"one/a.JPG": "out/a.JPG"}
    assert "would both be written to 'out/A.jpg'" in str(both.problems[0].reason)


def test_whether_a_disk_tells_case_is_known(tmp_path):
    touch("out/2024/a")
    assert ignores_case(tmp_path / "out/2024/not/there") == Path("OUT/2024/A").exists()


def test_a_folder_keeps_its_tree():
    touch("in/a.jpg", "in/sub/b.PNG", "in/sub/deep/c.tif")
    assert pairs(planned("in")) == {
        "in/a.jpg": "out/a.jpg",
        "in/sub/b.PNG": "out/sub/b.PNG",
        "in/sub/deep/c.tif": "out/sub/deep/c.tif",
    }
    assert pairs(planned("in", recursive=False)) == {"in/a.jpg": "out/a.jpg"}


def test_several_folders_keep_their_names():
    touch("2023/a.jpg", "2024/a.jpg")
    assert pairs(planned("2023", "2024/")) == {
        "2023/a.jpg": "out/2023/a.jpg",
        "2024/a.jpg": "out/2024/a.jpg",
    }


def test_strangers_and_hidden_files_in_a_folder_are_left_out():
    touch("in/a.jpg", "in/notes.txt", "in/.a.jpg.part", "in/._a.jpg", "in/.thumbs/a.jpg")
    result = planned("in")
    assert pairs(result) == {"in/a.jpg": "out/a.jpg"}
    assert result.skipped_files == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.jpg", {"in/a.jpg": "out/a.jpg"}),
        ("in/**/*.jpg", {"in/a.jpg": "out/a.jpg", "in/x/b.jpg": "out/x/b.jpg"}),
        ("in/[xy]", {"in/x/b.jpg": "out/x/b.jpg", "in/y/b.png": "out/y/b.png"}),
        ("*/?/b.*", {"in/x/b.jpg": "out/in/x/b.jpg", "in/y/b.png": "out/in/y/b.png"}),
    ],
)
def test_a_glob_keeps_the_tree_below_its_plain_part(pattern, expected):
    touch("in/a.jpg", "in/x/b.jpg", "in/y/b.png", "in/.hidden/c.jpg")
    assert pairs(planned(pattern)) == expected


def test_a_file_whose_name_looks_like_a_glob_is_that_file():
    touch("a[1].jpg", "a1.jpg")
    assert pairs(planned("a[1].jpg")) == {"a[1].jpg": "out/a[1].jpg"}


def test_a_photo_given_twice_is_restored_once():
    touch("in/a.jpg")
    assert pairs(planned("in", "in/a.jpg", "./in/../in/a.jpg")) == {"in/a.jpg": "out/a.jpg"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("missing.jpg", "'missing.jpg' does not exist."),
        ("missing", "missing"),
        ("notes.txt", "notes.txt"),
        ("none*.jpg", "No file matches 'none*.jpg'."),
    ],
)
def test_what_is_named_and_cannot_be_restored_fails_alone(given, reason):
    touch("a.jpg")
    Path("notes.txt").write_text("no image")
    result = planned("a.jpg", given)
    assert pairs(result) == {"a.jpg": "out/a.jpg"}
    (problem,) = result.problems
    assert problem.status == "failed"
    assert problem.job.source == Path(given)
    assert reason in problem.reason


def test_a_pattern_without_a_match_fails_alone_where_a_photo_is_to_name_its_result():
    result = planned("none*.jpg", out="out.png")
    assert not result.jobs
    assert [one.reason for one in result.problems] == ["No file matches 'none*.jpg'."]


@pytest.mark.parametrize("out", ["out", "out.png"])
def test_an_empty_list_is_wrong_usage(out):
    with pytest.raises(PlanError, match="No image found in an empty list"):
        planned(out=out)


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_named_pipe_is_not_waited_for():
    os.mkfifo("pipe.jpg")
    (problem,) = planned("pipe.jpg").problems
    assert problem.reason == "'pipe.jpg' is not a file."


def test_a_named_image_without_a_suffix_is_recognised_by_its_content():
    Image.new("RGB", (4, 3)).save("photo", format="PNG")
    assert pairs(planned("photo")) == {"photo": "out/photo.png"}


def test_nothing_found_is_wrong_usage():
    touch("in/notes.txt")
    with pytest.raises(PlanError, match="No image found in 'in'"):
        planned("in")


@pytest.mark.parametrize(
    ("source", "format", "result"),
    [
        ("a.JPG", "same", "a.JPG"),
        ("a.jpeg", "jpeg", "a.jpeg"),
        ("a.png", "jpeg", "a.jpg"),
        ("a.jpg", "tiff", "a.tif"),
        ("a.jpg", "webp", "a.webp"),
        ("a.tar.jpg", "png", "a.tar.png"),
        ("a.nef", "same", "a.tiff"),
        ("a.HEIC", "same", "a.jpg"),
        ("a.gif", "same", "a.png"),
    ],
)
def test_the_format_chooses_the_suffix(source, format, result):
    touch(source)
    assert pairs(planned(source, format=format)) == {source: f"out/{result}"}


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("{stem}_restored{suffix}", "a_restored.jpg"),
        ("{model}-{stem}{suffix}", "tiny-a.jpg"),
        ("{{{stem}}}{suffix}", "{a}.jpg"),
    ],
)
def test_a_name_template_names_the_results(name, result):
    touch("a.jpg")
    assert pairs(planned("a.jpg", name=name)) == {"a.jpg": f"out/{result}"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("{stem}{sufix}", "Did you mean 'suffix'"),
        ("{stem.real}{suffix}", "Unknown field"),
        ("{}{suffix}", "Unknown field"),
        ("{stem", "is no template"),
        ("{model}{suffix}", "must hold {stem} once"),
        ("{stem}{stem}{suffix}", "must hold {stem} once"),
        ("{stem}.png", "end in {suffix}"),
        ("{suffix}{stem}", "end in {suffix}"),
        ("sub/{stem}{suffix}", "choose the folder with -o"),
        ("..\\{stem}{suffix}", "choose the folder with -o"),
    ],
)
def test_a_wrong_name_template_is_refused(name, sentence):
    touch("a.jpg")
    with pytest.raises(PlanError) as refused:
        planned("a.jpg", name=name)
    assert sentence in str(refused.value)


def test_a_name_template_may_have_spaces_of_any_width():
    touch("in/a.jpg")
    assert pairs(planned("in", name="{stem}\u3000x{suffix}")) == {"in/a.jpg": "out/a\u3000x.jpg"}


def test_a_single_photo_may_name_its_result():
    touch("a.jpg")
    assert pairs(planned("a.jpg", out="new/b.png")) == {"a.jpg": "new/b.png"}
    Path("folder.png").mkdir()
    assert pairs(planned("a.jpg", out="folder.png")) == {"a.jpg": "folder.png/a.jpg"}


@pytest.mark.parametrize(
    ("inputs", "out", "options", "sentence"),
    [
        (["a.jpg", "b.jpg"], "c.png", {}, "several inputs"),
        (["in"], "c.png", {}, "several inputs"),
        (["a.jpg"], "c.nef", {}, "choose from jpeg, png"),
        (["a.jpg"], "c.png", {"format": "png"}, "nothing to --name and --format"),
        (["a.jpg"], "file", {}, "-o takes a folder"),
        (["a.jpg"], "a.jpg", {}, "would overwrite the input"),
        (["a.jpg"], ".", {}, "would overwrite the input"),
        (["in"], "in", {}, "would overwrite the input"),
    ],
)
def test_an_output_that_does_not_suit_the_inputs_is_refused(inputs, out, options, sentence):
    touch("a.jpg", "b.jpg", "file", "in/a.jpg")
    with pytest.raises(PlanError) as refused:
        planned(*inputs, out=out, **options)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("photo", "conversion", "named"),
    [
        ("a.jpg", "a.heic", "a.heic.jpg"),
        ("a.JPG", "a.HEIC", "a.HEIC.jpg"),
        ("a.png", "a.gif", "a.gif.png"),
    ],
)
def test_what_keeps_its_suffix_keeps_its_name(photo, conversion, named):
    touch(f"in/{photo}", f"in/{conversion}")
    result = planned("in")
    assert pairs(result) == {f"in/{photo}": f"out/{photo}", f"in/{conversion}": f"out/{named}"}
    assert not result.problems
    assert pairs(planned(f"in/{conversion}"))[f"in/{conversion}"] == f"out/a{Path(named).suffix}"


def test_two_photos_with_one_target_are_a_problem_that_names_both():
    touch("in/a.jpg", "in/a.png")
    result = planned("in", format="webp")
    assert pairs(result) == {"in/a.jpg": "out/a.webp"}
    (problem,) = result.problems
    assert all(name in problem.reason for name in ("in/a.jpg", "in/a.png", "out/a.webp"))


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege")
def test_loops_of_symbolic_links_end():
    touch("in/sub/a.jpg")
    Path("in/sub/up").symlink_to("..", target_is_directory=True)
    Path("in/self.jpg").symlink_to("self.jpg")
    result = planned("in")
    assert set(pairs(result)) == {"in/sub/a.jpg"}
    assert pairs(planned("in/**/*.jpg"))["in/sub/a.jpg"] == "out/sub/a.jpg"


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege")
def test_the_output_is_known_under_another_name():
    touch("in/a.jpg", "in/out/a.jpg")
    Path("link").symlink_to("in/out", target_is_directory=True)
    assert set(pairs(planned("in", out="link"))) == {"in/a.jpg"}
    Path("again").symlink_to("in", target_is_directory=True)
    with pytest.raises(PlanError, match="would overwrite the input"):
        planned("in", out="again", recursive=False)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_survives():
    name = os.fsdecode(b"in/caf\xe9.jpg")
    touch(name)
    (job,) = planned("in").jobs
    assert os.fsencode(job.target) == b"out/caf\xe9.jpg"


def test_pixels_are_counted_from_the_header():
    Image.new("L", (7, 5)).save("a.png")
    touch("broken.png")
    with PhotoReader() as reader:
        assert count_pixels(Job(Path("a.png"), Path("b.png")), reader) == 35
        assert count_pixels(Job(Path("broken.png"), Path("b.png")), reader) == 0
