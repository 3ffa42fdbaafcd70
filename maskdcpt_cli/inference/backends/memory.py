"""The memory of the activations of a network, without computing them."""

import weakref
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def activation_bytes(model: nn.Module, side: int) -> int:
    """Return the peak bytes of float32 activations in a pass over (1, 3, side, side).

    Runs on the meta device, where tensors have shapes and no memory, in a fraction of a second.
    """
    tensors = chain(model.named_parameters(), model.named_buffers())
    weights = {name: tensor.to("meta") for name, tensor in tensors}
    live = _LiveBytes()
    with torch.no_grad(), live:
        functional_call(model, weights, torch.empty(1, 3, side, side, device="meta"))
    return live.peak


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operators create, for as long as someone holds them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.live -= size
