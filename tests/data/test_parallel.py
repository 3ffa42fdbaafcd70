"""Work in several processes: ordered, stoppable, and honest when a process dies."""

import os
import signal

import pytest

from maskdcpt_cli.data.parallel import in_processes
from maskdcpt_cli.errors import MaskDCPTError


def square(number: int) -> int:
    return number * number


def die(_number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items(jobs):
    assert list(in_processes(square, range(30), jobs=jobs)) == [n * n for n in range(30)]


def test_items_are_taken_no_further_than_a_few_ahead():
    taken = []
    results = in_processes(square, (taken.append(n) or n for n in range(1000)), jobs=2)
    next(results)
    assert len(taken) < 20
    results.close()


def test_closing_stops_the_processes():
    results = in_processes(square, range(1000), jobs=2)
    next(results)
    results.close()
    with pytest.raises(StopIteration):
        next(results)


def test_a_killed_process_is_told_in_a_sentence():
    with pytest.raises(MaskDCPTError, match="killed"):
        list(in_processes(die, range(4), jobs=2))
