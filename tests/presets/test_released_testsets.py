"""The test sets of the presets against those of the released options, one by one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from maskdcpt_cli.presets.data import EvalPart, Folders, Source, TextList, Unpaired
from maskdcpt_cli.presets.load import load_data

RELEASED = yaml.safe_load((Path(__file__).parents[1] / "reference" / "testsets.yaml").read_text())
PRESETS = {  # the preset that holds the sets of a list
    "5d": "5d",
    "12d": "12d",
    "real_world_no_reference": "real-world",
    "mixed": "mixed",
    "denoising_out_of_domain": "denoise",
}
SYNTHETIC = {"gaussian_noise": "GN", "jpeg": "J", "mosaic": "MS", "gaussian_and_sinc_blur": "GB"}
OURS = {  # released names whose set has another name in the presets
    "LowLight": "LOL-v1",
    "Gopro": "GoPro",
    "Kodak": "Kodak24",
    "McMasterHQ": "McMaster",
    "RealBlurJ": "RealBlur-J",
    "RealBlurR": "RealBlur-R",
    "RSBlur_real": "RSBlur",
    "SynRain": "SynRain-13k",
    "RealRainL": "RealRain-1k-L",
    "RealRainH": "RealRain-1k-H",
    "Snow100K_Real": "Snow100K real",
    "LoLv1": "LOL-v1",
    "LoLv2Syn": "LOL-v2 syn",
    "LoLv2Real": "LOL-v2 real",
    "LSRW_Huawei": "LSRW Huawei",
    "LSRW_Nikon": "LSRW Nikon",
    "Moire": "RDNet",
    "RainDrop_a": "RainDrop a",
    "RainDrop_b": "RainDrop b",
    "RainDS_syn": "RainDS syn",
    "RainDS_real": "RainDS real",
    "UDC_poled": "UDC poled",
    "UDC_toled": "UDC toled",
    "low_blur_noise": "LOL-Blur with noise",
    "low_blur": "LOL-Blur",
}
TASK = re.compile(  # before the name of a set; a sigma of 56 is the released slip for 50
    "(GaussianDenoise[0-9]+|RealNoise|MotionDeblur|DefocuseDeblur|JPEG|Dehaze|Haze|Derain|Snow|"
    "Mosaic|LowLight|GaussianBlur)_"
)


def name_of(released: str) -> str:
    name = TASK.sub("", released, count=1)
    return OURS.get(name, name)


def sets(preset: str) -> Iterator[tuple[EvalPart, Source]]:
    for part in load_data(preset).test:
        yield from ((part, source) for source in part.sources)


@pytest.mark.parametrize(
    ("preset", "entry"),
    [
        pytest.param(PRESETS[name], entry, id=f"{name} {entry['name']}")
        for name, entries in RELEASED.items()
        for entry in entries
    ],
)
def test_every_released_test_set_is_in_its_preset(preset, entry):
    named = [
        (part, source) for part, source in sets(preset) if source.name == name_of(entry["name"])
    ]
    kind = entry["kind"]
    if kind in SYNTHETIC:
        level = entry.get("sigma", entry.get("quality"))
        synthetic = [
            (part, source)
            for part, source in named
            if part.degradation == SYNTHETIC[kind] and level in (part.synthesis.levels or (None,))
        ]
        ((part, source),) = synthetic
        assert isinstance(source, Folders)
        assert source.lq is None
        assert part.synthesis.seed == entry.get("seed", part.synthesis.seed)
        return
    ((_, source),) = [
        (part, source) for part, source in named if part.degradation not in SYNTHETIC.values()
    ]
    expected = {"paired_list": TextList, "no_reference": Unpaired}.get(kind, Folders)
    assert type(source) is expected
    if expected is Folders:
        assert source.lq
        many = set(re.findall(r"{\w+}", source.lq)) > set(re.findall(r"{\w+}", source.gt))
        assert many == (kind == "paired_many_to_one")


def test_the_lists_are_read_whole():
    assert {name: len(entries) for name, entries in RELEASED.items()} == {
        "5d": 5,
        "12d": 52,
        "real_world_no_reference": 9,
        "mixed": 13,
        "denoising_out_of_domain": 20,
    }
