"""What a network is asked to remove from a photo: what was found in it, or what the user names."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from maskdcpt_cli.degradations import group, in_words, scale
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.images.colour import Colour
from maskdcpt_cli.images.photo import Page
from maskdcpt_cli.inference.classify import Found, find_degradations
from maskdcpt_cli.inference.events import Settings
from maskdcpt_cli.inference.looking import REDUCED_PIXELS
from maskdcpt_cli.inference.out_of_memory import moved
from maskdcpt_cli.models.backbone import RestorationNetwork
from maskdcpt_cli.weights.building import DegradationClassifier
from maskdcpt_cli.weights.zoo import DEFAULT, DEFAULT_CLASSIFIER, load_classifier


class Removal(NamedTuple):
    """The types that are to be removed from a page."""

    native: tuple[str, ...]  # in tiles, at the size of the page
    reduced: tuple[str, ...] = ()  # from the page reduced, in one piece

    @property
    def types(self) -> tuple[str, ...]:
        return self.native + self.reduced


def check_removal(model: RestorationNetwork, settings: Settings) -> None:
    """Raise MaskDCPTError where a network cannot be asked what the settings ask for."""
    requests, remove, keep = model.requests, settings.remove, settings.keep
    if not model.request_types:
        if keep or remove not in ("auto", "all"):
            raise MaskDCPTError(
                f"This model cannot be asked what to remove (remove, keep): take {DEFAULT}, "
                "or one that `maskdcpt finetune --architecture instruct` trains."
            )
        return
    if not requests:
        if keep or remove != "all":
            raise MaskDCPTError(
                "The file of this model does not name the types that it removes, so that it can "
                "only be asked for all of them: give remove all, and no keep."
            )
        return
    named = keep if isinstance(remove, str) else remove
    if unknown := [one for one in named if one not in requests]:
        raise MaskDCPTError(
            f"This model does not know {in_words(unknown)}: it removes {in_words(requests)}."
        )
    if isinstance(remove, str) and set(requests) <= set(keep):
        raise MaskDCPTError("All that this model removes is kept: nothing is left to remove.")


def needs_classifier(model: RestorationNetwork, settings: Settings) -> bool:
    """Return whether a classifier decides what is removed, or at what scale named types are."""
    if not model.requests:
        return False
    if isinstance(settings.remove, str):
        return settings.remove == "auto"
    return scale_varies(settings.remove)


def scale_varies(types: Iterable[str]) -> bool:
    """Return whether a classifier decides at what scale named types are removed."""
    return any(scale(one) == "either" for one in types)


@dataclass(frozen=True)
class Remover:
    """Decides for each page what the network is asked to remove."""

    requests: tuple[str, ...]  # of the network
    settings: Settings
    classifier: DegradationClassifier | None  # where it decides

    def find(self, page: Page, colour: Colour, *, orientation: int) -> Found | None:
        """Return what was found in a page; None where it does not matter."""
        if self.classifier is None:
            return None
        height, width = page.pixels.shape[:2]
        if self.settings.remove != "auto" and height * width <= REDUCED_PIXELS:
            return None  # nothing is removed from such a page reduced
        return find_degradations(self.classifier, page, colour, orientation=orientation)

    def labels(self, found: Found | None) -> tuple[str, ...] | None:
        """Return the types that were found; None where they decide nothing, or are uncertain."""
        if found is None or found.uncertain or self.settings.remove != "auto":
            return None
        return found.labels

    def decide(self, found: Found | None) -> Removal | None:
        return decide_removal(self.requests, self.settings, found)

    def after(self, removal: Removal | None) -> "Remover | None":
        """Return the remover of what shows once that is removed; None where nothing new can.

        Dehazing and brightening raise the contrast, and with it noise that was not seen before. The
        thresholds that leave clean photos alone do not apply to a photo that has changed anyway:
        what is likelier than not is removed. In 9 of 14 photos of LOL that is something (19.23 to
        19.37 dB; 19.30 in 5 of them by the thresholds of the classifier; none is worse), in 3 of 16
        with synthetic low light (+0.06, -0.08 and -0.01 dB), in none of 14 hazy ones.
        """
        removed = () if removal is None else removal.types
        scenes = any(scale(one) == "scene" for one in removed)
        if self.classifier is None or self.settings.remove != "auto" or not scenes:
            return None
        shown = tuple(one for one in self.requests if scale(one) == "pixel" and one not in removed)
        if not shown:
            return None
        return replace(self, requests=shown, classifier=replace(self.classifier, thresholds={}))


def open_remover(
    model: RestorationNetwork,
    settings: Settings,
    classifier: DegradationClassifier | None,
    *,
    device: str,
) -> Remover:
    """Return the remover of a network on a device; without a classifier it takes the default one.

    Raises MaskDCPTError where the network cannot be asked what the settings ask for.
    """
    check_removal(model, settings)
    if needs_classifier(model, settings):
        classifier = classifier or default_classifier(device)
    else:
        classifier = None  # nothing depends on what it would find
    return Remover(model.requests, settings, classifier)


def open_classifier(name_or_file: str, device: str) -> DegradationClassifier:
    """Load a classifier onto a device; raises as `load_classifier` and `moved`."""
    classifier = load_classifier(name_or_file)
    moved(classifier.network, device)
    return classifier


@cache
def default_classifier(device: str) -> DegradationClassifier:
    """Return the default classifier on a device, loaded once."""
    return open_classifier(DEFAULT_CLASSIFIER, device)


def decide_removal(
    requests: tuple[str, ...], settings: Settings, found: Found | None
) -> Removal | None:
    """Return what to remove from a page, each in the order of `requests`.

    Types of the scene are removed from the page reduced, and so are those whose scale varies where
    the page shows them when it is reduced. None where the network takes no request, or its types
    have no names: it removes all that it can.
    """
    if not requests:
        return None
    if not isinstance(settings.remove, str):
        wanted = set(settings.remove)
    else:
        wanted = set(requests if found is None else found.labels) - set(settings.keep)
    types = [one for one in requests if one in wanted]
    reduced = [one for one in types if _is_of_reduced_page(one, found)]
    return Removal(tuple(one for one in types if one not in reduced), tuple(reduced))


def _is_of_reduced_page(label: str, found: Found | None) -> bool:
    """Return whether a type is removed from the page reduced; without a look only scene types.

    Kinds of blur are taken for one another: one that shows in the page reduced counts for all.
    """
    if scale(label) != "either":
        return scale(label) == "scene"
    reduced = () if found is None else found.reduced
    return any(one == label or group(one) == group(label) == "blur" for one in reduced)


def request_of(types: Iterable[str], requests: tuple[str, ...]) -> Tensor:
    """Return the request (1, types) for some types of those that a network can be asked for."""
    wanted = set(types)
    return torch.tensor([[float(one in wanted) for one in requests]])
