"""The images to train and to validate on: from a data preset, or the user's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskdcpt_cli.data import sets
from maskdcpt_cli.data.augment import CropFn, full_image
from maskdcpt_cli.data.mixture import Curriculum, Mixture, Samples
from maskdcpt_cli.data.pairs import Pair, Pairs, scenes_of
from maskdcpt_cli.data.sets import DEFAULT_SYNTHESIS, ImageSet
from maskdcpt_cli.data.sources import root_of
from maskdcpt_cli.degradations import LABELS, SETTINGS, find
from maskdcpt_cli.errors import MaskDCPTError, check_max_pixels, unknown
from maskdcpt_cli.images.formats import MAX_PIXELS
from maskdcpt_cli.models.options import INSTRUCT
from maskdcpt_cli.plugins import needed
from maskdcpt_cli.presets.data import (
    Data,
    Manifest,
    Part,
    PluginSource,
    RequestKinds,
    Requests,
    Shards,
    Unpaired,
)
from maskdcpt_cli.presets.load import load_data, names
from maskdcpt_cli.presets.training import Finetune, Pretrain, Run

EVERYTHING = RequestKinds(exactly=0, some=0, more=0, all=1, others=0)
HELD_OUT = 10  # one of so many scenes is held out for validation where there are no test sets


Scenes = NDArray[np.uint64]
NO_SCENES: Scenes = np.empty(0, np.uint64)


class Inputs(NamedTuple):
    """The images of a run."""

    train: tuple[ImageSet, ...]
    validation: tuple[ImageSet, ...]  # empty where there are too few images to hold some out
    labels: tuple[str, ...]  # of the setting, in order
    requests: Requests | None = None  # what the network is asked to remove in training
    plugins: tuple[str, ...] = ()  # modules of the plugins that are needed for them
    held_out: Scenes = NO_SCENES  # those of `validation`, where it is not of test sets

    @property
    def lacking(self) -> tuple[str, ...]:
        """The degradations of the setting of which there are no training images."""
        known = {one.degradation for one in self.train if one.degradation}
        known |= {label for one in self.train for label in one.pairs.degradations()}
        return tuple(label for label in self.labels if label not in known)

    @property
    def pair_count(self) -> int:
        """The number of pairs of all sets; with another one, the samples are others."""
        return sum(len(one) for one in (*self.train, *self.validation))


@dataclass(frozen=True)
class Selected:
    """Some of the pairs of a source."""

    pairs: Pairs
    indices: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int, crop_fn: CropFn = full_image) -> Pair:
        return self.pairs.read(int(self.indices[index]), crop_fn)

    def degradations(self) -> frozenset[str]:
        return self.pairs.degradations()

    def scenes(self) -> Scenes:
        return scenes_of(self.pairs)[self.indices]


@dataclass(frozen=True)
class TrainingData:
    """The images of a run: the data sets of its preset, the user's clean photos, or pairs.

    `TrainingData(root="data/")`, `TrainingData(photos="photos/")`, or
    `TrainingData(pairs=[("lq/", "gt/")], degradations=["H"])`.

    Args:
        root: the folder of the data sets; None: the environment variable MASKDCPT_DATA.
        photos: a folder of clean photos, degraded as they are read.
        pairs: folders of degraded and of clean images of the same names.
        degradations: of each of the pairs, by abbreviation or name.
        setting: of photos and pairs; None: that of the data preset.
        max_pixels: larger images are refused; None for no limit.

    Raises:
        MaskDCPTError: for a setting or degradation that does not exist, pairs without a degradation
            each, photos and pairs together, a setting without either, and a limit below 1.
    """

    root: Path | str | None = None
    photos: Path | str | None = None
    pairs: Sequence[tuple[Path | str, Path | str]] = ()
    degradations: Sequence[str] = ()
    setting: str | None = None
    max_pixels: int | None = MAX_PIXELS

    def __post_init__(self) -> None:
        check_max_pixels(self.max_pixels)
        if self.setting is not None and self.setting not in SETTINGS:
            raise MaskDCPTError(unknown("setting", self.setting, SETTINGS))
        if self.photos is not None and self.pairs:
            raise MaskDCPTError("Give either photos or pairs, not both.")
        if self.setting is not None and self.photos is None and not self.pairs:
            raise MaskDCPTError(
                "setting is of photos and pairs; that of data sets is in their data preset."
            )
        if len(self.pairs) != len(self.degradations):
            raise MaskDCPTError(
                f"Which degradation do the pairs have? degradations has {len(self.degradations)} "
                f"for {len(self.pairs)} of pairs: give one for each."
            )
        for word in self.degradations:
            find(word)

    def open(self, preset: str) -> Inputs:
        """Find the images.

        Args:
            preset: name or file of the data preset of the run.

        Returns:
            The images to train and to validate on.

        Raises:
            MaskDCPTError: for images that are not there.
        """
        asked = load_data(preset)
        data = load_data(self.setting) if self.setting in names() else asked
        setting = self.setting or data.setting
        inputs = self._open(data, setting)
        plugins = needed(SETTINGS=[setting], DEGRADATIONS=inputs.labels)
        return inputs._replace(
            requests=asked.requests,
            plugins=tuple(sorted({*data.plugins, *asked.plugins, *plugins})),
        )

    def _open(self, data: Data, setting: str) -> Inputs:
        if self.photos is not None:
            return from_photos(Path(self.photos), data, setting=setting, max_pixels=self.max_pixels)
        if self.pairs:
            folders = [(Path(lq), Path(gt)) for lq, gt in self.pairs]
            labels = [find(word) for word in self.degradations]
            return from_pairs(folders, labels, setting=setting, max_pixels=self.max_pixels)
        root = None if self.root is None else Path(self.root)
        return from_preset(data, root, max_pixels=self.max_pixels)


def samples_of(run: Run, data: TrainingData, inputs: Inputs) -> Samples:
    """Return the samples of a run; a stage with data of its own opens them.

    What is held out for validation is left out of every stage.

    Requests of a data preset are for request-conditioned networks, in fine-tuning, and for
    multi-label classifiers, in pre-training; else an image has one degradation, and its target
    none.
    """
    opened = [
        without(data.open(one.data), inputs.held_out) if one.data else inputs
        for one in run.training.stages
    ]
    mixtures = [
        Mixture(
            one.train,
            labels=inputs.labels,
            seed=run.training.seed,
            requests=_requests(run, one.requests),
        )
        for one in opened
    ]
    return Curriculum(mixtures, [stage.iterations * stage.batch for stage in run.training.stages])


def _requests(run: Run, given: Requests | None) -> Requests | None:
    """Return the requests that a run has a use for; in pre-training all is to be removed."""
    if isinstance(run, Finetune):
        return given if run.options.get("architecture") == INSTRUCT else None
    multi_label = isinstance(run, Pretrain) and run.heads.multi_label
    return given.model_copy(update={"ask": EVERYTHING}) if given and multi_label else None


def from_preset(data: Data, root: Path | None, *, max_pixels: int | None = MAX_PIXELS) -> Inputs:
    """Open the data sets of a setting, below `root`, or the folder that the environment names.

    Test sets without labels, or of pairs that name no degradation, are left to benchmarks.
    """
    folder = root_of(data, root)
    labelled = [part for part in data.test if not _unlabelled(part)]
    train = sets.from_preset(data.train, folder, max_pixels=max_pixels)
    opened = sets.from_preset(labelled, folder, max_pixels=max_pixels)
    test = [one for one in opened if one.missing or one.pairs.degradations() <= set(LABELS)]
    sets.check_complete([*train, *test])
    labels = SETTINGS[data.setting]
    return Inputs(tuple(train), tuple(test), labels) if test else _held_out(train, labels)


def from_pairs(
    folders: Sequence[tuple[Path, Path]],
    degradations: Sequence[str],
    *,
    setting: str,
    max_pixels: int | None = MAX_PIXELS,
) -> Inputs:
    """Open pairs of two folders each, with the degradation of each of them."""
    own = sets.from_pairs(folders, degradations, max_pixels=max_pixels)
    return _held_out(own, SETTINGS[setting])


def from_photos(
    folder: Path, data: Data, *, setting: str, max_pixels: int | None = MAX_PIXELS
) -> Inputs:
    """Open clean photos, degraded in all ways of a setting as the data preset degrades them."""
    syntheses = [
        (label, synthesis)
        for label in SETTINGS[setting]
        for synthesis in dict.fromkeys(
            part.synthesis for part in data.train if part.degradation == label
        )
        or (DEFAULT_SYNTHESIS,)
    ]
    own = sets.from_photos(folder, syntheses, max_pixels=max_pixels)
    return _held_out(own, SETTINGS[setting])


def _unlabelled(part: Part) -> bool:
    """Return whether a part is for benchmarks alone: of no degradation of ours, or without gt."""
    own = all(isinstance(source, (Manifest, Shards, PluginSource)) for source in part.sources)
    blind = any(isinstance(source, Unpaired) for source in part.sources)
    return blind or (part.degradation is None and not own)


def _held_out(own: Sequence[ImageSet], labels: tuple[str, ...]) -> Inputs:
    """Hold out every HELD_OUT-th scene of each set for validation.

    All pairs of a scene are on the same side, in all sets.
    """
    train: list[ImageSet] = []
    validation: list[ImageSet] = []
    trained = held = np.empty(0, np.uint64)  # scenes of the sets before
    for one in own:
        scenes, first, of = np.unique(scenes_of(one.pairs), return_index=True, return_inverse=True)
        chosen = np.argsort(np.argsort(first)) % HELD_OUT == HELD_OUT - 1
        chosen = (chosen & ~np.isin(scenes, trained)) | np.isin(scenes, held)
        trained, held = np.union1d(trained, scenes[~chosen]), np.union1d(held, scenes[chosen])
        held_out = chosen[of]
        if not held_out.all():
            train.append(replace(one, pairs=Selected(one.pairs, np.flatnonzero(~held_out))))
        if held_out.any():
            selected = Selected(one.pairs, np.flatnonzero(held_out))
            validation.append(replace(one, pairs=selected, repeat=1))
    return Inputs(tuple(train), tuple(validation), labels, held_out=held)


def without(inputs: Inputs, scenes: Scenes) -> Inputs:
    """Return inputs that train on no pair of some scenes."""
    train = []
    for one in inputs.train if len(scenes) else ():
        kept = np.flatnonzero(~np.isin(scenes_of(one.pairs), scenes))
        if len(kept):
            train.append(replace(one, pairs=Selected(one.pairs, kept)))
    return inputs._replace(train=tuple(train)) if len(scenes) else inputs
