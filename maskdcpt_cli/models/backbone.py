"""The contract of a restoration network."""

from collections.abc import Callable, Iterable
from inspect import signature
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskdcpt_cli.models.instruct import RequestEmbedding
from maskdcpt_cli.models.masking import OnGrid, apply
from maskdcpt_cli.models.pooling import GlobalPool, whole_image
from maskdcpt_cli.models.shapes import Shapes


class Encoded(NamedTuple):
    """The output of the encoder.

    `latent` is the input of the restoration head. `features` are the outputs of the later half of
    the stages of the network, in the order of computation, {F_i} of Eq. 2.
    """

    latent: Tensor
    features: tuple[Tensor, ...]


class RestorationNetwork:
    """The properties of a network that restoration needs, whatever runs it."""

    size_multiple: int  # of the heights and widths of its tiles
    padding: str = "reflect"  # to these multiples, a key of PADDINGS
    request_types: int = 0  # of types in a request; 0: it takes no request
    requests: tuple[str, ...] = ()  # their abbreviations, if its file names them

    def weight_items(self) -> Iterable[tuple[str, Tensor]]:
        """Return names and tensors that differ from those of other networks."""
        raise NotImplementedError

    def unusual_options(self) -> dict[str, object]:
        """Return the options that no tensor shows and that are not the default of the class."""
        return {}

    def check_request(self, request: Tensor) -> None:
        """Raise ValueError for a request that does not fit the network."""
        types = self.request_types
        if not types or request.shape[1:] != (types,):
            able = f"can be asked for {types} types" if types else "cannot be asked what to remove"
            raise ValueError(f"This network {able}, and the request is {tuple(request.shape)}.")


class Backbone(nn.Module, RestorationNetwork):
    """A restoration network: an encoder, and a head that predicts the global residual.

    With a mask as `on_grid`, `encode` takes a packed image and returns packed maps; hidden pixels
    cannot influence them. With values recorded over a whole image as `pool`, it takes tiles of it.

    A request-conditioned network takes a request (B, types): 1 for each type of degradation that is
    to be removed, 0 for the others. Without one it is asked for everything. A request (1, types)
    holds for the whole batch. Pre-training asks for everything (ours): the request must not name
    the degradation that the classifier is to find.
    """

    options: ClassVar[tuple[str, ...]]  # names of the constructor's arguments, kept as attributes
    architectures: ClassVar[tuple[str, ...]] = ("plain",)  # valid for the option of this name
    telltale: ClassVar[str]  # a key of its state dict that no other backbone has, but a subclass
    assumed_options: ClassVar[tuple[str, ...]] = ()  # not exact in options_from
    hidden_options: ClassVar[tuple[str, ...]] = ()  # of which no tensor tells anything
    feature_dims: tuple[int, ...]  # channels of Encoded.features, in their order
    feature_scales: tuple[int, ...]  # width of a position of each, in pixels
    beyond_features: ClassVar[tuple[str, ...]]  # the submodules that no feature depends on

    def __init__(self) -> None:
        super().__init__()
        self.request_embedding: RequestEmbedding | None = None

    @classmethod
    def options_from(cls, shapes: Shapes) -> dict[str, object]:
        """Return the options of a network with tensors of these shapes.

        Raises ValueError, which continues the name of a file, where tensors are missing.
        """
        raise NotImplementedError

    def encode(
        self,
        lq: Tensor,
        on_grid: OnGrid = apply,
        pool: GlobalPool = whole_image,
        request: Tensor | None = None,
    ) -> Encoded:
        """Encode (B, 3, H, W) in [0, 1]; H and W are multiples of size_multiple.

        Raises ValueError for a request that does not fit the network.
        """
        raise NotImplementedError

    def head(self, latent: Tensor) -> Tensor:
        """Return the residual (B, 3, H, W) that restores lq from the latent."""
        raise NotImplementedError

    def residual(
        self, lq: Tensor, pool: GlobalPool = whole_image, request: Tensor | None = None
    ) -> Tensor:
        """Return the residual of (B, 3, H, W) in [0, 1]; H and W are multiples of size_multiple.

        An image of whose degradations none is to be removed stays as it is (ours): it is 0.

        Raises ValueError for a request that does not fit the network.
        """
        residual = self.head(self.encode(lq, pool=pool, request=request).latent)
        return residual if request is None else residual * request.amax(dim=1).view(-1, 1, 1, 1)

    def forward(self, lq: Tensor, request: Tensor | None = None) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1] of any size; the result has the same size, not clipped.

        Raises ValueError for a request that does not fit the network.
        """
        height, width = lq.shape[-2:]
        padded = PADDINGS[self.padding](lq, self.size_multiple)
        restored = padded + self.residual(padded, request=request)
        return restored[..., :height, :width]

    def auxiliary_loss(self) -> Tensor | None:
        """Return the loss of the network's own from its last pass in training, once; or None."""
        return None

    def instruction(self, request: Tensor | None) -> tuple[Tensor, ...]:
        """Return the embedding of a request by itself, or nothing if the network takes none.

        Raises ValueError for a request that does not fit the network.
        """
        if request is not None:
            self.check_request(request)
        if self.request_embedding is None:
            return ()
        if request is None:
            request = next(self.parameters()).new_ones(1, self.request_types)
        return (self.request_embedding(request),)

    def weight_items(self) -> Iterable[tuple[str, Tensor]]:
        return self.state_dict().items()

    def unusual_options(self) -> dict[str, object]:
        usual = usual_options(type(self))
        given = {name: getattr(self, name) for name in self.hidden_options}
        return {name: value for name, value in given.items() if (name, value) not in usual.items()}


def usual_options(backbone: type[Backbone]) -> dict[str, object]:
    """Return the defaults of the arguments of a backbone, and of those that it hands on unnamed."""
    usual: dict[str, object] = {}
    for one in reversed(backbone.__mro__):
        if issubclass(one, Backbone) and "__init__" in vars(one):
            given = signature(one).parameters.items()
            usual |= {name: argument.default for name, argument in given}
    return usual


def pad_by_reflection(x: Tensor, multiple: int) -> Tensor:
    """Pad (..., H, W) at the bottom and right to multiples, by reflection.

    Unlike `torch.nn.functional.pad` it reflects repeatedly where an image is smaller than its
    padding, down to a single pixel.
    """
    for dim in (-2, -1):
        size = x.shape[dim]
        grown = -(-size // multiple) * multiple
        if grown > size:
            period = max(2 * (size - 1), 1)
            index = torch.arange(grown, device=x.device) % period
            x = x.index_select(dim, torch.minimum(index, period - index) % size)
    return x


def pad_with_zeros(x: Tensor, multiple: int) -> Tensor:
    """Pad (..., H, W) at the bottom and right to multiples, with zeros."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple))


Pad = Callable[[Tensor, int], Tensor]
PADDINGS: dict[str, Pad] = {"reflect": pad_by_reflection, "zeros": pad_with_zeros}
