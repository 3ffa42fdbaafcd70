"""Options of what is to be removed from photos, and words for what was."""

from collections import Counter
from collections.abc import Iterable

import click

from maskdcpt_cli.cli.completions import several_of
from maskdcpt_cli.cli.options import Decorator, ModelName
from maskdcpt_cli.degradations import LABELS, find_types, in_words, removable, slug
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference.events import Outcome, Remove, Settings
from maskdcpt_cli.weights.zoo import DEFAULT_CLASSIFIER

UNCERTAIN = "uncertain what it has: left as it is; --remove names types"
NOTHING_FOUND = "nothing found: left as it is; --remove names types"


def type_names() -> list[str]:
    """Return the names of all types that may be removed."""
    return [slug(label) for label in removable(LABELS)]


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
    shell_complete=several_of(lambda: ["auto", "all", *type_names()]),
    help="Types to remove: auto, those that a classifier finds in each photo; all that the model "
    "knows; or a list, as noise,jpeg. Of request-conditioned models, as the default one.",
)
keep_option: Decorator = click.option(
    "--keep",
    metavar="TYPE,...",
    callback=_types,
    shell_complete=several_of(type_names),
    help="Types that --remove auto or all leaves, as haze.",
)
classifier_option: Decorator = click.option(
    "--classifier",
    metavar="NAME|FILE",
    type=ModelName("classifies"),
    help="Classifier of --remove auto, and of the size at which rain, snow, drops and blur are "
    f"removed.  [default: {DEFAULT_CLASSIFIER}]",
)


def plan_in_words(settings: Settings, classifier: str) -> str:
    """Return what a request-conditioned model will remove."""
    if not isinstance(settings.remove, str):
        return f"removes {in_words(settings.remove) or 'nothing'}"
    every = f"what {classifier} finds" if settings.remove == "auto" else "all that it knows"
    return f"removes {every}" + (f" but {in_words(settings.keep)}" if settings.keep else "")


def removal_in_words(outcome: Outcome) -> str:
    """Return what was found in a photo and removed; nothing where it was not classified."""
    found, removed = outcome.found, outcome.removed or ()
    if outcome.status != "restored":
        return ""
    if found is None:
        return UNCERTAIN if outcome.removed == () else ""
    others = in_words(one for one in found if one not in removed)
    if removed:
        return f"removed {in_words(removed)}" + (f"; not removed: {others}" if others else "")
    return f"not removed: {others}; left as it is" if others else NOTHING_FOUND


def removals_in_words(outcomes: Iterable[Outcome]) -> str:
    """Return from how many photos what was removed; nothing where they were not classified."""
    removals = [one.removed or () for one in outcomes if one.found is not None or one.removed == ()]
    photos = Counter(label for removed in removals for label in removed)
    parts = [f"{slug(label)} from {number}" for label, number in photos.most_common()]
    words = [f"removed {', '.join(parts)}"] if parts else []
    if left := sum(not removed for removed in removals):
        words.append(f"{left} left as {'it is' if left == 1 else 'they are'}")
    return "; ".join(words)
