"""Thresholds of glibc's malloc by which freed memory is kept."""

import ctypes
import sys
from types import SimpleNamespace

import pytest

from maskdcpt_cli.images.heap import (
    ACTIVATIONS,
    IMAGES,
    M_MMAP_THRESHOLD,
    M_TOP_PAD,
    M_TRIM_THRESHOLD,
    SMALL_PHOTOS,
    Kept,
    keep_freed_memory,
)


class Glibc:
    """A C library that takes M_MMAP_THRESHOLD up to a limit, in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken: dict[int, int] = {}

    def gnu_get_libc_version(self) -> str:
        return "2.0"

    def mallopt(self, parameter: int, value: int) -> int:
        if parameter == M_MMAP_THRESHOLD and value > self.limit:
            return 0
        self.taken[parameter] = value
        return 1


def thresholds(kept: Kept, monkeypatch: pytest.MonkeyPatch, *, limit: int) -> dict[int, int]:
    libc = Glibc(limit)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: libc)
    keep_freed_memory(kept)
    return libc.taken


def test_images_are_kept_up_to_a_gigabyte_activations_without_limit(monkeypatch):
    assert thresholds(IMAGES, monkeypatch, limit=2**31) == {
        M_TRIM_THRESHOLD: 2**30, M_MMAP_THRESHOLD: 2**30, M_TOP_PAD: 2**26
    }  # fmt: skip
    assert thresholds(ACTIVATIONS, monkeypatch, limit=2**31) == {
        M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_THRESHOLD: 2**27
    }  # fmt: skip


@pytest.mark.parametrize("kept", [IMAGES, SMALL_PHOTOS, ACTIVATIONS])
def test_an_old_glibc_gets_the_largest_block_that_it_takes(kept, monkeypatch):
    assert thresholds(kept, monkeypatch, limit=2**25)[M_MMAP_THRESHOLD] == 2**25


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    calls = []
    other = SimpleNamespace(mallopt=lambda *values: calls.append(values))
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: other)
    keep_freed_memory()
    assert not calls
