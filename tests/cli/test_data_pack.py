"""`maskdcpt data pack`, from arguments to shards."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from maskdcpt_cli.cli import Program
from maskdcpt_cli.cli.data.pack import pack as command
from maskdcpt_cli.data.sets import from_preset
from maskdcpt_cli.data.shards.index import ShardPairs
from maskdcpt_cli.presets.load import load_data

program = Program("maskdcpt", commands=[command])


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = Path(__file__).parents[2] / "examples"
    for side, suffix in (("lq", ".jpg"), ("gt", ".png")):
        for number, name in enumerate(("coffee-jpeg.jpg", "bee-blur.jpg")):
            target = Path(side, "sub", f"{number}{suffix}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(examples / name) as image:
                image.crop((100, 100, 260, 200)).save(target)


def pack(*args: str) -> Result:
    return CliRunner().invoke(program, ["pack", *args, "--jobs", "1"])


def test_pairs_are_packed():
    result = pack("-o", "out", "--pairs", "lq", "gt", "--type", "haze", "--crop-size", "64")
    assert result.exit_code == 0, result.output
    assert "12 crops in 1 shard in out" in result.stderr
    shards = ShardPairs(Path("out/index.json"))
    assert len(shards) == 12
    assert shards.read(0).gt.shape == (64, 64, 3)
    assert shards.degradations() == {"H"}


def test_photos_are_packed_in_shards_of_a_size():
    result = pack("-o", "out", "--photos", "gt", "--crop-size", "64", "--shard-size", "90K", "-q")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert len(list(Path("out").glob("clean-*.tar"))) == 2
    assert len(ShardPairs(Path("out/index.json"), "GN", clean=True)) == 12


def test_compressed_shards_are_smaller_and_hold_the_same():
    for out, options in (("plain", []), ("small", ["--compress"])):
        assert pack("-o", out, "--photos", "gt", *options).exit_code == 0
    plain, small = (Path(out, "clean-000000.tar").stat().st_size for out in ("plain", "small"))
    assert small < 0.8 * plain
    crops = [
        ShardPairs(Path(out, "index.json"), "J", clean=True).read(1).gt
        for out in ("plain", "small")
    ]
    assert (crops[0] == crops[1]).all()


def test_a_broken_image_is_named_and_the_others_packed():
    Path("gt/sub/0.png").write_bytes(b"nothing")
    result = pack("-o", "out", "--pairs", "lq", "gt", "-t", "haze")
    assert result.exit_code == 1
    assert "0.png cannot be read" in result.stderr
    assert len(ShardPairs(Path("out/index.json"))) == 1


def test_nothing_readable_is_reported_and_nothing_written():
    for path in Path("gt/sub").iterdir():
        path.write_bytes(b"nothing")
    result = pack("-o", "out", "--photos", "gt")
    assert result.exit_code == 1
    assert "There is nothing to pack." in result.stderr
    assert not Path("out").exists()


def test_a_folder_without_images_is_reported():
    Path("empty").mkdir()
    result = pack("-o", "out", "--photos", "empty")
    assert result.exit_code == 1
    assert "There are no images in 'empty'." in result.stderr


def test_a_preset_without_training_sets_has_nothing_to_pack():
    result = pack("-o", "out", "--data-preset", "denoise", "--data-root", ".")
    assert result.exit_code == 1
    assert "There is nothing to pack: this preset has no training sets." in result.stderr


def test_a_preset_is_packed_and_clean_images_of_several_types_once():
    Path("mine.yaml").write_text(
        "setting: 12d\ntrain:\n"
        "- {degradation: LL, repeat: 3, sources: "
        "[{name: a, lq: 'lq/sub/{name}', gt: 'gt/sub/{name}'}]}\n"
        "- {degradation: GN, sources: [{name: b, gt: 'gt/{path}'}]}\n"
        "- {degradation: J, sources: [{name: b, gt: 'gt/{path}'}]}\n"
    )
    result = pack("-o", "out", "--data-preset", "mine.yaml", "--data-root", ".")
    assert result.exit_code == 0, result.output
    assert "4 crops in 2 shards in out" in result.stderr
    Path("packed.yaml").write_text(
        "setting: 12d\ntrain:\n"
        "- {degradation: LL, repeat: 3, sources: [{name: a, shards: out/index.json}]}\n"
        "- {degradation: J, sources: [{name: b, shards: out/index.json, clean: true}]}\n"
    )
    sets = from_preset(load_data("packed.yaml").train, Path())
    read = [one.pairs.read(index) for one in sets for index in range(len(one))]
    assert [(pair.degradation, pair.lq is None) for pair in read] == [
        *[("LL", False)] * 2,
        *[("J", True)] * 2,
    ]
    again = pack("-o", "again", "--data-preset", "packed.yaml", "--data-root", ".")
    assert again.exit_code == 1
    assert "'a' is packed already" in again.stderr


def test_missing_data_of_a_preset_are_named():
    result = pack("-o", "out", "--data-preset", "tiny", "--data-root", ".")
    assert result.exit_code == 1
    assert "there is no photos" in result.stderr


def test_shards_are_not_overwritten():
    assert pack("-o", "out", "--photos", "gt").exit_code == 0
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    result = pack("-o", "out", "--photos", "lq")
    assert result.exit_code == 1
    assert "'out' holds shards already; take another folder" in result.stderr
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_a_image_without_partner_is_named():
    shutil.copy("lq/sub/0.jpg", "lq/sub/7.jpg")
    result = pack("-o", "out", "--pairs", "lq", "gt", "-t", "haze")
    assert result.exit_code == 1
    assert "'lq/sub/7.jpg' has no partner in 'gt'" in result.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Give one of --data-preset NAME, --pairs LQ GT and"),
        (["--pairs", "lq", "gt", "--photos", "gt"], "Give one of"),
        (["--pairs", "lq", "gt"], "Give --type with --pairs"),
        (["--data-preset", "tiny", "--photos", "gt"], "Give one of"),
        (["--photos", "gt", "-t", "haze"], "and only then"),
        (["--pairs", "lq", "gt", "-t", "hazy"], "Did you mean 'haze'?"),
        (["--photos", "gt", "--shard-size", "lots"], "'lots' is not a size"),
        (["--photos", "gt", "--crop-size", "3"], "not in the range"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(options, sentence):
    result = pack("-o", "out", *options)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not Path("out").exists()
