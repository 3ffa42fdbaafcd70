from pathlib import Path
from threading import Thread

import pytest
from torch.distributed import HashStore

from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.inference.events import Job, Outcome
from maskdcpt_cli.inference.sharing import Share


def jobs(count: int) -> list[Job]:
    return [Job(Path(f"{i}.png"), Path(f"out/{i}.png")) for i in range(count)]


def test_every_job_is_done_once_and_the_first_process_hears_of_all():
    store, work = HashStore(), jobs(20)
    taken: dict[int, list[Job]] = {}

    def restore(share: Share):
        for job in share.take(work):
            taken.setdefault(share.rank, []).append(job)
            yield Outcome(job, "restored", found=("GN", "H"), removed=("GN",))

    shares = [Share(store, rank, world_size=3) for rank in range(3)]
    heard: dict[int, list[Outcome]] = {}

    def run(share: Share):
        heard[share.rank] = list(share.gather(restore(share)))

    threads = [Thread(target=run, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.job.source for outcome in heard[0]) == sorted(job.source for job in work)
    assert {(one.found, one.removed) for one in heard[0]} == {(("GN", "H"), ("GN",))}
    assert heard[1] == heard[2] == []
    assert sum(map(len, taken.values())) == 20


def test_jobs_stay_in_order_for_each_process():
    share = Share(HashStore(), rank=0, world_size=1)
    assert list(share.take(jobs(5))) == jobs(5)
    assert list(share.gather([])) == []


def test_an_error_of_another_process_ends_the_main_one_with_its_reason():
    store, work = HashStore(), jobs(3)

    def broken(share: Share):
        yield Outcome(next(share.take(work)), "restored")
        raise MemoryError("out of memory")

    with pytest.raises(MemoryError):
        list(Share(store, rank=1, world_size=2).gather(broken(Share(store, 1, 2))))
    events = Share(store, rank=0, world_size=2).gather([])
    assert isinstance(next(events), Outcome)
    with pytest.raises(MaskDCPTError, match=r"Process 1 ended: out of memory\. The same command"):
        next(events)
