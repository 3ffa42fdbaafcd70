"""Options of what is to be removed from photos, and words for what was."""

from collections import Counter
from collections.abc import Iterable

import click

from maskdcpt_cli.cli.options import Decorator, ModelName, several_of
from maskdcpt_cli.degradations import CLEAN, LABELS, find_types, slug
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference.events import Outcome, Remove
from maskdcpt_cli.weights.zoo import DEFAULT_CLASSIFIER

TYPES = [one.slug for label, one in LABELS.items() if label != CLEAN]


def _types(_ctx: click.Context, param: click.Parameter, text: str | None) -> Remove:
    if text is None:
        return ()
    if param.name == "remove" and text in ("auto", "all"):
        return "auto" if text == "auto" else "all"
    try:
        return find_types(text)
    except MaskDCPTError as error:
        raise click.BadParameter(str(error)) from error


remove_option: Decorator = click.option(
    "--remove",
    default="auto",
    show_default=True,
    metavar="auto|all|TYPE,...",
    callback=_types,
    shell_complete=several_of(["auto", "all", *TYPES]),
    help="What a model that can be asked removes: what a classifier finds in a photo, all that the "
    "model knows, or these types, as noise,jpeg.",
)
keep_option: Decorator = click.option(
    "--keep",
    metavar="TYPE,...",
    callback=_types,
    shell_complete=several_of(TYPES),
    help="Types that --remove auto or all leaves, as haze.",
)
classifier_option: Decorator = click.option(
    "--classifier",
    metavar="NAME|FILE",
    type=ModelName("classifies"),
    help=f"Classifier of --remove auto.  [default: {DEFAULT_CLASSIFIER}]",
)


def removal_in_words(outcome: Outcome) -> str:
    """Return what was removed from a photo; nothing where the model was not asked for types."""
    found, removed = outcome.found, outcome.removed
    if outcome.status != "restored" or removed is None:
        return ""
    others = in_words(one for one in found or () if one not in removed)
    left = f"; not removed: {others}" if others else ""
    if removed:
        return f"removed {in_words(removed)}{left}"
    if others:
        return f"{others} found, which is not removed: left as it is"
    return "nothing to remove: left as it is" if found is None else "clean: left as it is"


def removals_in_words(outcomes: Iterable[Outcome]) -> str:
    """Return how many photos had what removed; nothing where the model was not asked for types."""
    asked = [one.removed for one in outcomes if one.removed is not None]
    photos = Counter(label for removed in asked for label in removed)
    parts = [f"{slug(label)} removed from {number}" for label, number in photos.most_common()]
    if left := sum(not removed for removed in asked):
        parts.append(f"{left} left as {'it is' if left == 1 else 'they are'}")
    return ", ".join(parts)


def in_words(labels: Iterable[str]) -> str:
    """Return the names of types, as on the command line."""
    return ", ".join(map(slug, labels))
