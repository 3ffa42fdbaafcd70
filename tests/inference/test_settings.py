"""Settings of what to remove, in the words of users."""

import pytest

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference.events import Settings


@pytest.mark.parametrize(
    ("given", "remove", "keep"),
    [
        ({}, "auto", ()),
        ({"remove": "all", "keep": ("haze", "H")}, "all", ("H",)),
        ({"remove": ("jpeg", "GN", "Noise", "blur+jpeg")}, ("J", "GN", "MB+J"), ()),
        ({"remove": ["noise"]}, ("GN",), ()),
        ({"remove": "noise, jpeg"}, ("GN", "J"), ()),
        ({"remove": ()}, (), ()),
    ],
)
def test_settings_take_the_words_of_users_each_once(given, remove, keep):
    settings = Settings(**given)
    assert (settings.remove, settings.keep) == (remove, keep)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"remove": ("niose",)}, r"^Unknown degradation 'niose'\. Did you mean 'noise'\?"),
        ({"keep": ("",)}, "^Unknown degradation ''"),
        ({"remove": ("clean",)}, "^'clean' is not a type of degradation"),
        ({"remove": ("noise",), "keep": ("haze",)}, "^keep goes with remove 'auto' or 'all'"),
    ],
)
def test_settings_refuse_other_words(given, sentence):
    with pytest.raises(MaskDCPTError, match=sentence):
        Settings(**given)
