"""The memory of the activations of a network."""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def activation_bytes(model: nn.Module, side: int) -> int:
    """Return the peak bytes of the activations of a pass over (1, 3, side, side).

    The pass is a real one: on the meta device PyTorch would import its compiler for shapes alone,
    which takes longer than a pass over a small tile.
    """
    live = _LiveBytes()
    with torch.no_grad(), live:
        model(torch.zeros(1, 3, side, side, device=next(model.parameters()).device))
    return live.peak


# PyTorch has no types for what a subclass of TorchDispatchMode calls: hence both `ignore`.
class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operators create, for as long as someone holds them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import the compiler, too

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
