"""Loading of a mixture: pairs that are broken, and worker processes that end or hang."""

import multiprocessing
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch

from maskdcpt_cli.data.augment import CropFn, full_image
from maskdcpt_cli.data.loading import load
from maskdcpt_cli.data.mixture import Mixture
from maskdcpt_cli.data.pairs import Pair
from maskdcpt_cli.data.sets import ImageSet
from maskdcpt_cli.errors import ImageError, MaskDCPTError
from maskdcpt_cli.images import limits
from maskdcpt_cli.images.limits import limited
from tests.data.test_mixture import LABELS, SyntheticPairs, batches, same
from tests.images.hostile_worker import DECODERS, hung_process


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_pair_is_named_and_another_replaces_it(workers):
    broken = Mixture([ImageSet("a", SyntheticPairs(8, broken=frozenset({2, 5})))], labels=LABELS)
    whole_runs = [list(load(broken, batches(last=6), workers=workers)) for _ in range(2)]
    reasons = [reason for batch in whole_runs[0] for reason in batch.skipped]
    assert {"H-2.png cannot be read.", "H-5.png cannot be read."} == set(reasons)
    assert len(reasons) >= 6
    for one, other in zip(*whole_runs, strict=True):
        assert same(one, other)
        assert one.lq.shape[0] == 4
        assert one.skipped == other.skipped


@pytest.mark.parametrize("workers", [0, 1])
def test_when_most_pairs_are_broken_training_stops_in_a_sentence(workers):
    broken = Mixture(
        [ImageSet("a", SyntheticPairs(40, broken=frozenset(range(1, 40))))], labels=LABELS
    )
    with pytest.raises(MaskDCPTError, match=r"^10 pairs in a row are broken; .*H-\d+\.png"):
        list(load(broken, batches(last=20), workers=workers))


class Deadly(SyntheticPairs):
    def read(self, index: int, crop_fn: CropFn = full_image) -> Pair:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index, crop_fn)


@dataclass(frozen=True)
class Failing:
    count: int
    error: Exception

    def __len__(self) -> int:
        return self.count

    def read(self, _index: int, _crop_fn: CropFn = full_image) -> Pair:
        raise self.error

    def degradations(self) -> frozenset[str]:
        return frozenset({"H"})


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("error", "raised", "sentence"),
    [
        (RuntimeError("a bug of its own"), RuntimeError, "a bug of its own"),
        (
            ImageError("t.csv: HTTPError: 404"),
            MaskDCPTError,
            r"^10 pairs in a row are broken; .*t.csv: HTTPError: 404",
        ),
    ],
)
def test_an_error_of_the_samples_is_reported_as_it_is(workers, error, raised, sentence):
    failing = Mixture([ImageSet("a", Failing(40, error))], labels=LABELS)
    with pytest.raises(raised, match=sentence) as caught:
        list(load(failing, batches(last=20), workers=workers))
    assert "lack of memory" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_a_killed_worker_raises_nothing_in_the_midst_of_a_step():
    whole = Mixture([ImageSet("a", SyntheticPairs(40))], labels=LABELS)
    batch = load(whole, batches(last=400), workers=1)
    next(batch)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    assert sum(range(1_000_000)) > 0  # where a handler would raise
    with pytest.raises(MaskDCPTError, match="A data loading process was killed"):
        list(batch)


def test_a_killed_worker_is_reported_in_a_sentence():
    deadly = Mixture([ImageSet("a", Deadly(1))], labels=LABELS)
    with pytest.raises(MaskDCPTError, match="was killed, perhaps for lack of memory"):
        list(load(deadly, batches(last=2), workers=1))


class Terminated(SyntheticPairs):
    def read(self, index: int, crop_fn: CropFn = full_image) -> Pair:
        os.kill(os.getpid(), signal.SIGTERM)
        return super().read(index, crop_fn)


def test_workers_leave_it_to_their_parent_to_end_a_job():
    terminated = Mixture([ImageSet("a", Terminated(4))], labels=LABELS)
    assert len(list(load(terminated, batches(last=2), workers=1))) == 2


class Hung(SyntheticPairs):
    how = "spin"

    def read(self, index: int, crop_fn: CropFn = full_image) -> Pair:
        with limited("hung.png", 0):
            DECODERS[self.how]()
        return super().read(index, crop_fn)


@pytest.mark.skipif(sys.platform != "linux", reason="limits differ there")
def test_a_worker_whose_decoder_hangs_ends_by_its_limit(monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 1)
    hung = Mixture([ImageSet("a", Hung(1))], labels=LABELS)
    with pytest.raises(MaskDCPTError, match="process was killed"):
        list(load(hung, batches(last=2), workers=1))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked there")
def test_a_worker_whose_decoder_hangs_is_not_left_behind(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Hung, "how", "wait for long")
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)  # for its end
    hung = Mixture([ImageSet("a", Hung(1))], labels=LABELS)

    def interrupt() -> None:
        hung_process()
        os.kill(os.getpid(), signal.SIGINT)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            next(load(hung, batches(last=2), workers=1))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    "entry", [SyntheticPairs(4), SyntheticPairs(40, broken=frozenset(range(40)))]
)
def test_no_worker_is_left_behind(entry):
    loading = load(Mixture([ImageSet("a", entry)], labels=LABELS), batches(last=9), workers=1)
    try:
        next(loading)
    except MaskDCPTError as error:
        kept = error  # and its traceback
    else:
        kept = None
    loading.close()
    assert multiprocessing.active_children() == [], kept
