"""Which photographs the recipe of the embedded model keeps for measuring."""

import numpy as np

from recipes.tiny.photographs import HELD_OUT_BY_SOURCE, held_out_sources, split
from tests.datasets import save

PHOTO = np.zeros((4, 4, 3), np.uint8)


def files(folder):
    return [path.name for path in sorted(folder.iterdir())]


def test_one_of_ten_photos_is_held_out(tmp_path):
    for index in range(20):
        save(tmp_path / "photos" / f"{index:02d}.png", PHOTO)
    split([tmp_path / "photos"], tmp_path)
    assert files(tmp_path / "unseen") == ["00009.png", "00019.png"]
    assert len(files(tmp_path / "train")) == 18


def test_whole_sources_are_held_out(tmp_path):
    sources = {f"{index:02d}.png": f"book {index // 2}" for index in range(48)}
    for name in sources:
        save(tmp_path / "photos" / name, PHOTO)
    rows = ["file\tsource\tlicence", *(f"{name}\t{book}\tCC0" for name, book in sources.items())]
    (tmp_path / "photos" / "sources.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    split([tmp_path / "photos"], tmp_path)
    numbers = [int(name.partition(".")[0]) for name in files(tmp_path / "unseen")]
    assert len(numbers) == 48 // HELD_OUT_BY_SOURCE
    assert {number // 2 for number in numbers} == {numbers[0] // 2, numbers[2] // 2}


def test_a_source_that_has_too_many_photos_is_not_held_out():
    photos = ["large"] * 100 + ["small"] * 5 + ["other"] * 3
    assert held_out_sources(photos) == {"small", "other"}
    assert not held_out_sources([])
