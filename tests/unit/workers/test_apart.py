"""Work in a process of its own."""

import os
import time
from functools import partial

import pytest

from workers.apart import Failed, apart


def test_the_work_is_done_in_another_process() -> None:
    assert apart(os.getpid, timeout_s=60) != os.getpid()


def test_what_goes_wrong_in_the_child_is_told() -> None:
    with pytest.raises(Failed, match="ZeroDivisionError: "):
        apart(partial(divmod, 1, 0), timeout_s=60)
    with pytest.raises(Failed, match="exit code 3"):
        apart(partial(os._exit, 3), timeout_s=60)


def test_who_takes_too_long_is_ended() -> None:
    with pytest.raises(Failed, match="took longer than 0 s"):
        apart(partial(time.sleep, 600), timeout_s=0.1)
