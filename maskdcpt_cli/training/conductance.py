"""Mask attribute conductance: which layers matter as a masked image becomes a whole one.

It selects the layers that RAM fine-tunes: Qin et al., Restore Anything with Masks, ECCV 2024
(arXiv 2409.19403), "fine-tuning with mask attribute conductance", and the options of its release.
The conductance of a unit y along a path of inputs x_0, ..., x_n is the sum of
dF/dy(x_i) (y(x_i) - y(x_(i-1))) (Dhamdhere et al., How important is a neuron?, 2019; in this form
Shrikumar et al., Computationally efficient measures of internal neuron importance, 2018). F is the
detail of the output (Gu & Dong, Interpreting super-resolution networks with local attribution maps,
2021), and the path uncovers the pixels of an image in a random order. That of a layer is the mean
of the absolute conductance of its units.

Ours: covered pixels are black in all networks, as in RAM's, though our pre-training leaves them
out; the border of the path's masks is hard, where RAM's is a sigmoid as steep as a pixel; and
images are samples of the run.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskdcpt_cli.data.mixture import Samples, to_float
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.files import replacing, shown
from maskdcpt_cli.models import Backbone
from maskdcpt_cli.presets.training import Conductance
from maskdcpt_cli.training.distributed import DistributedContext

CONDUCTANCE = "conductance.json"  # in the folder of a run
EPS = 1e-8  # of squared differences of [0, 1]: the slope of their root is infinite at 0

Restore = Callable[[Tensor, Tensor], Tensor]  # of an image and its request
Unit = tuple[str, int]  # the name of a layer, and which of its calls in a pass


@dataclass(frozen=True)
class LayerSelection:
    """The conductance of each layer, and the layers that are trained."""

    conductance: Mapping[str, float]
    trained: frozenset[str]

    def write(self, run_dir: Path) -> None:
        """Write both, the layers of the highest conductance first.

        Raises:
            MaskDCPTError: for a folder that cannot be written to.
        """
        layers = [
            {"name": name, "conductance": value, "trained": name in self.trained}
            for name, value in sorted(self.conductance.items(), key=lambda item: -item[1])
        ]
        try:
            with replacing(run_dir / CONDUCTANCE) as file:
                file.write(json.dumps({"layers": layers}, indent=1).encode())
        except OSError as error:
            raise MaskDCPTError(f"The run folder {shown(run_dir)}: {error.strerror}.") from error

    @classmethod
    def read(cls, run_dir: Path) -> "LayerSelection":
        """Read what `write` wrote.

        Raises:
            MaskDCPTError: for a file that is damaged.
        """
        path = run_dir / CONDUCTANCE
        try:
            layers = json.loads(path.read_bytes())["layers"]
            conductance = {one["name"]: float(one["conductance"]) for one in layers}
            return cls(conductance, frozenset(one["name"] for one in layers if one["trained"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MaskDCPTError(
                f"{shown(path)}, the layers that the run trains, is missing or damaged: begin "
                "another --run-dir."
            ) from error


def layers_of(backbone: Backbone) -> dict[str, nn.Module]:
    """Return the modules that have parameters of their own, by name."""
    modules = dict(backbone.named_modules())
    return {
        name: module
        for name, module in modules.items()
        if name and next(module.parameters(recurse=False), None) is not None
    }


def train_only(backbone: Backbone, names: frozenset[str]) -> None:
    """Freeze the parameters of all layers but those named."""
    for name, module in backbone.named_modules():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(name in names)


def beyond_features(backbone: Backbone) -> frozenset[str]:
    """Return the layers after the features, which pre-training leaves as they were initialised."""
    head = tuple(f"{name}." for name in backbone.beyond_features)
    return frozenset(name for name in layers_of(backbone) if f"{name}.".startswith(head))


def select_layers(
    backbone: Backbone,
    restore: Restore,
    data: Samples,
    settings: Conductance,
    *,
    seed: int,
    crop_size: int,
    distributed: DistributedContext,
) -> LayerSelection:
    """Measure the conductance of all layers, and select those of the highest.

    Args:
        backbone: pre-trained.
        restore: returns the output of the backbone for an image and its request.
        data: the samples of the run, the first of which are measured on.
        settings: how many layers, images and steps.
        seed: of the run.
        crop_size: of the images.
        distributed: the ranks, which share the images.

    Returns:
        The selection, the same on all ranks.

    Raises:
        MaskDCPTError: where the conductance of a layer is NaN or infinite.
    """
    layers, count = layers_of(backbone), settings.images * len(data.labels)
    backbone.eval().to(distributed.device)
    sums = torch.zeros(len(layers), device=distributed.device)
    for number in range(distributed.rank, count, distributed.world_size):
        sample = data[SampleKey(number, crop_size)]
        lq, request = (
            tensor[None].to(distributed.device) for tensor in (sample.lq, sample.request)
        )
        order = np.random.default_rng((seed, number)).permutation(crop_size**2)
        path = masked_path(to_float(lq), order, settings)
        units = conductance_along(restore, layers, path, request)
        sums += torch.stack([_mean_of_layer(name, units, sums) for name in layers])
    means = (distributed.mean(sums) * distributed.world_size / count).tolist()
    if not np.isfinite(means).all():
        raise MaskDCPTError(
            "The conductance of a layer is NaN or infinite: are the weights those of a network "
            "that is trained?"
        )
    conductance = dict(zip(layers, means, strict=True))
    ranked = sorted(layers, key=lambda name: -conductance[name])
    trained = ranked[: max(1, round(settings.fraction * len(layers)))]
    # The last bits of a mean may differ between ranks: the first one decides.
    agreed = distributed.gather(trained if distributed.is_main else [])
    return LayerSelection(conductance, frozenset(agreed) | beyond_features(backbone))


def masked_path(image: Tensor, order: NDArray[np.intp], settings: Conductance) -> Iterator[Tensor]:
    """Yield an image (1, 3, H, W) with fewer and fewer pixels hidden, at last none.

    Args:
        image: the whole one.
        order: when each pixel is uncovered, a permutation of range(H * W).
        settings: the ratio of hidden pixels at the beginning, and the steps.
    """
    when = torch.as_tensor(order, device=image.device).view(image.shape[-2:])
    for step in range(settings.steps + 1):
        hidden = settings.mask_ratio * (1 - step / settings.steps)
        yield image * (when < round((1 - hidden) * when.numel()))


def conductance_along(
    restore: Restore, layers: Mapping[str, nn.Module], path: Iterable[Tensor], request: Tensor
) -> dict[Unit, Tensor]:
    """Return the conductance of each unit of each layer along a path of inputs."""
    sums: dict[Unit, Tensor] = {}
    before: dict[Unit, Tensor] = {}
    for number, image in enumerate(path):
        with recorded(layers) as outputs:
            total = detail(restore(image, request))
        now = {unit: output.detach() for unit, output in outputs.items()}
        if number:
            gradients = torch.autograd.grad(total, list(outputs.values()), allow_unused=True)
            for unit, gradient in zip(outputs, gradients, strict=True):
                if gradient is not None and unit in before:
                    sums[unit] = sums.get(unit, 0) + gradient * (now[unit] - before[unit])
        before = now
    return sums


@contextmanager
def recorded(layers: Mapping[str, nn.Module]) -> Iterator[dict[Unit, Tensor]]:
    """Collect the outputs of layers that are called within the context."""
    outputs: dict[Unit, Tensor] = {}
    calls: Counter[str] = Counter()

    def keep(name: str, output: Tensor) -> None:
        outputs[name, calls[name]] = output
        calls[name] += 1

    handles = [
        module.register_forward_hook(lambda _module, _input, output, name=name: keep(name, output))
        for name, module in layers.items()
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def detail(image: Tensor) -> Tensor:
    """Return the sum of the gradient magnitudes of an image (1, 3, H, W)."""
    down = (image[..., 1:, :-1] - image[..., :-1, :-1]).square()
    right = (image[..., :-1, 1:] - image[..., :-1, :-1]).square()
    return (down + right + EPS).sqrt().sum()


def _mean_of_layer(name: str, units: Mapping[Unit, Tensor], like: Tensor) -> Tensor:
    """Return the mean of the absolute conductance of a layer; 0 for one that is not called."""
    own = [value.abs().mean() for (layer, _), value in units.items() if layer == name]
    return torch.stack(own).sum() if own else like.new_zeros(())
