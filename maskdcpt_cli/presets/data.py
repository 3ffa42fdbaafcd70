"""Schema of data presets: which images a setting trains and tests on."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PlainValidator,
    PositiveInt,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from maskdcpt_cli.degradations import LABELS, SETTINGS, Range
from maskdcpt_cli.errors import unknown
from maskdcpt_cli.plugins import Registry, needed
from maskdcpt_cli.presets.addresses import check_address, is_address

WORD = re.compile(r"\{(\w+)\}")  # in a template


class Schema(BaseModel):
    """Settings that cannot be changed after loading; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        for key in given.keys() - cls.model_fields.keys():
            raise _key_error(key, f"unknown key; {_hint(str(key), cls.model_fields)}")
        return given


def _hint(key: str, fields: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, fields, n=1, cutoff=0.7)
    return f"did you mean '{close[0]}'?" if close else f"choose from: {', '.join(fields)}"


def _key_error(key: object, reason: str) -> PydanticCustomError:
    return PydanticCustomError("key", "{reason}", {"key": key, "reason": reason})


Given = TypeVar("Given")


def _relative_path(text: str) -> str:
    """Refuse a path that could leave the data root."""
    parts = text.split("/")
    if text.startswith("/") or ".." in parts or "\\" in text or re.match("[A-Za-z]:", text):
        raise ValueError(
            f"'{text}' must be below the data root: no absolute path, no '..', no '\\'"
        )
    return text


def _shards(text: str) -> str:
    return check_address(text) if is_address(text) else _relative_path(text)


def _template(text: str) -> str:
    if re.search(r"[{}]", WORD.sub("", text)):
        raise ValueError(f"in '{text}' a brace is no part of a word such as {{scene}} or {{path}}")
    return _relative_path(text)


def _levels(given: object) -> tuple[float, ...] | Range:
    try:
        if isinstance(given, Mapping) and given.keys() == {"from", "to"}:
            return Range(float(given["from"]), float(given["to"]))
        if isinstance(given, (list, tuple)) and given:
            return given if isinstance(given, Range) else tuple(float(level) for level in given)
    except (TypeError, ValueError):
        pass
    raise ValueError("valid are a list, as [15, 25, 50], and a range, as {from: 5, to: 50}")


def _not_empty(sources: Given) -> Given:
    if not sources:
        raise ValueError("give at least one")
    return sources


def _known_in(kind: str, table: Mapping[str, object]) -> AfterValidator:
    def check(word: str) -> str:
        if word not in table:
            raise ValueError(unknown(kind, word, table).rstrip("."))
        return word

    return AfterValidator(check)


RelativePath = Annotated[str, AfterValidator(_relative_path)]  # below the data root
Template = Annotated[str, AfterValidator(_template)]
Levels = Annotated[tuple[float, ...] | Range, PlainValidator(_levels)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**64)]  # as torch takes it
Abbreviation = Annotated[str, _known_in("degradation", LABELS)]


class Synthesis(Schema):
    """Synthesis of degraded images; keys that are left out are sampled as in `maskdcpt degrade`."""

    variant: str | None = None  # one of the degradation's, as "gaussian" of noise
    levels: Levels | None = None


class SeededSynthesis(Synthesis):
    """Synthesis of a test set, the same every time."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # as NumPy's legacy generator takes it


class TrainSynthesis(Synthesis):
    """Synthesis of training samples from clean images."""

    p_tone: Fraction = 0  # probability of a random tone curve, before degradation
    p_upscale: Fraction = 0  # probability of the softness of an upscaled photo, before degradation
    p_zoom: Fraction = 0  # probability of an enlarged part of the photo, before degradation
    p_sharpen: Fraction = 0  # probability of an unsharp mask, before degradation
    p_invert: Fraction = 0  # probability of a negative, before degradation
    p_grey: Fraction = 0  # probability of a photo in greys, before and after degradation
    p_jpeg: Fraction = 0  # probability of JPEG compression of usual quality, after degradation


class Named(Schema):
    """Keys of every source."""

    name: str
    pairs: PositiveInt | None = None  # expected number, if it is known


class Folders(Named):
    """Image files whose paths match a template.

    `{scene}` matches anything within a name, `{path}` matches folders, too. An lq belongs to the
    gt whose words in braces are the same. lq may have more words: of `hazy/{scene}_{airlight}` and
    `clear/{scene}`, many lq belong to one gt. Without lq the gt are degraded when they are read.
    Any image suffix matches, unless the template has one.
    """

    gt: Template
    lq: Template | None = None

    @model_validator(mode="after")
    def _joined(self) -> "Folders":
        words = set(WORD.findall(self.gt)), set(WORD.findall(self.lq or self.gt))
        if missing := words[0] - words[1]:
            raise ValueError(f"'{{{min(missing)}}}' is in gt, but not in lq: they cannot be paired")
        return self


class Unpaired(Named):
    """Degraded images without ground truth, whose paths match a template."""

    lq: Template


class TextList(Named):
    """A text file with a line `gt lq` for each pair, or `gt` for clean images."""

    list: RelativePath
    root: RelativePath = ""  # the folder that its paths start from


class Manifest(Named):
    """A manifest of `maskdcpt degrade`, whose lines name the degradations."""

    manifest: RelativePath


class Shards(Named):
    """Shards of `maskdcpt data pack`."""

    # Its index.json: below the data root, or an address.
    shards: Annotated[str, AfterValidator(_shards)]
    clean: bool = False  # True: the clean crops, to be degraded; False: the pairs


# Functions of plugins, as `(root, degradation, **options) -> Pairs` of data/pairs.py.
SOURCES: Registry[Callable[..., Any]] = Registry("SOURCES", {})


class PluginSource(Named):
    """Images that a function of a plugin finds."""

    source: Annotated[str, _known_in("source", SOURCES)]
    options: dict[str, Any] = {}  # of the function

    def __hash__(self) -> int:
        return hash((self.name, self.source))


LAYOUTS = {
    "gt": Folders,
    "list": TextList,
    "manifest": Manifest,
    "shards": Shards,
    "source": PluginSource,
    "lq": Unpaired,  # alone; beside gt it is of Folders
}


def _layout(given: object) -> str:
    """Return the layout of a source by its keys, in brackets, so that key paths leave it out."""
    keys = given if isinstance(given, Mapping) else getattr(given, "model_fields_set", ())
    return f"<{next((key for key in LAYOUTS if key in keys), 'gt')}>"


Source = Annotated[
    Annotated[Folders, Tag("<gt>")]
    | Annotated[TextList, Tag("<list>")]
    | Annotated[Manifest, Tag("<manifest>")]
    | Annotated[Shards, Tag("<shards>")]
    | Annotated[PluginSource, Tag("<source>")]
    | Annotated[Unpaired, Tag("<lq>")],
    Discriminator(_layout),
]


class Part(Schema):
    """Images of one degradation."""

    degradation: Abbreviation | None = (
        None  # None: the own ones of a manifest, shards or a plugin, or not in the taxonomy
    )
    synthesis: Synthesis = Synthesis()  # of clean sources
    sources: Annotated[tuple[Source, ...], AfterValidator(_not_empty)]


class EvalPart(Part):
    """Test sets of one degradation."""

    synthesis: SeededSynthesis = SeededSynthesis()


class TrainPart(Part):
    """Training images of one degradation."""

    synthesis: TrainSynthesis = TrainSynthesis()
    pairs: PositiveInt | None = None  # in the paper
    variants: PositiveInt = 1  # pairs that the paper counts for each clean image
    repeat: PositiveInt = 1  # visits in an epoch, in which pairs of repeat 1 have one

    @model_validator(mode="after")
    def _labelled(self) -> "TrainPart":
        if self.degradation is None and any(
            isinstance(source, (Folders, TextList)) for source in self.sources
        ):
            raise ValueError(
                "the degradation is missing; only a manifest and shards know their own"
            )
        return self

    @model_validator(mode="after")
    def _with_gt(self) -> "TrainPart":
        for source in self.sources:
            if isinstance(source, Unpaired):
                raise ValueError(f"'{source.name}' has no gt; only test sets can do without")
        return self


class RequestKinds(Schema):
    """What a network is asked to remove, by how often."""

    exactly: NonNegativeFloat = 4  # what is there
    some: NonNegativeFloat = 2  # not all of several degradations
    more: NonNegativeFloat = 2  # what is there, and what is not
    all: NonNegativeFloat = 1
    others: NonNegativeFloat = 1  # what is not there, and nothing that is
    nothing: NonNegativeFloat = 0  # teaches nothing: the network then returns its input

    @model_validator(mode="after")
    def _anything(self) -> "RequestKinds":
        if not any(self.model_dump().values()):
            raise ValueError("one of them must be above 0")
        return self


class Requests(Schema):
    """Samples for a request-conditioned network: several degradations, and a request (ours)."""

    p_several: Fraction = 0.5  # probability of further degradations
    most: Annotated[int, Field(ge=2, le=9)] = 4  # degradations of an image
    ask: RequestKinds = RequestKinds()


class Data(Schema):
    """Data of one setting."""

    setting: Annotated[str, _known_in("setting", SETTINGS)]  # gives the order of the labels
    requests: Requests | None = None  # None: one degradation each, all to be removed
    train: tuple[TrainPart, ...] = ()
    test: tuple[EvalPart, ...] = ()

    @model_validator(mode="after")
    def _of_the_setting(self) -> "Data":
        labels = SETTINGS[self.setting]
        for part in self.train:
            if part.degradation not in (None, *labels):
                raise ValueError(
                    f"'{part.degradation}' is not among the labels of '{self.setting}': "
                    f"{' '.join(labels)}"
                )
        return self

    @property
    def needs_root(self) -> bool:
        """Return whether a source is below the data root."""
        sources = [one for part in (*self.train, *self.test) for one in part.sources]
        return not all(isinstance(one, Shards) and is_address(one.shards) for one in sources)

    @property
    def plugins(self) -> tuple[str, ...]:
        """The modules of the plugins whose rows it names."""
        sources = [one for part in (*self.train, *self.test) for one in part.sources]
        return needed(
            SETTINGS=[self.setting],
            DEGRADATIONS=SETTINGS[self.setting],
            SOURCES=[one.source for one in sources if isinstance(one, PluginSource)],
        )


class Extension(Schema):
    """The keys of a data preset that begins with the parts of another preset."""

    extends: str  # a name, or a file relative to the file that extends it
    only: tuple[Abbreviation, ...] | None = None  # the parts to take over; None: all
