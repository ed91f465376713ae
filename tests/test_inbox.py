"""Inboxes: bounded, in order, for tasks and for threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hivemind.bus.inbox import Entry, Inbox, InboxLimits
from hivemind.message import foreign

from .waiting import eventually, eventually_async

pytestmark = pytest.mark.timeout(20)


def entry(number: int, size: int = 1) -> Entry:
    return "t", number, foreign(number), size


def numbers(entries: list[Entry]) -> list[int]:
    return [number for _, number, _, _ in entries]


def drain(inbox: Inbox) -> list[int]:
    taken = []
    while (one := inbox.take()) is not None:
        taken.append(one)
    return numbers(taken)


class Threads:
    """Threads that take until the inbox ends, and what each took."""

    def __init__(self, inbox: Inbox, count: int, most: int = 64) -> None:
        self.taken: list[list[int]] = [[] for _ in range(count)]
        self._threads = [threading.Thread(target=self._take, args=(inbox, mine, most)) for mine in self.taken]
        for thread in self._threads:
            thread.start()

    def _take(self, inbox: Inbox, mine: list[int], most: int) -> None:
        while batch := inbox.take_many(most):
            mine += numbers(batch)

    def join(self) -> list[int]:
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()
        return [number for mine in self.taken for number in mine]


def test_what_is_put_first_is_taken_first() -> None:
    inbox = Inbox()
    for number in range(5):
        inbox.put([entry(number)])
    assert len(inbox) == 5
    assert drain(inbox) == [0, 1, 2, 3, 4]
    assert inbox.take() is None


def test_a_full_inbox_drops_the_oldest_and_counts_it() -> None:
    inbox = Inbox(InboxLimits(messages=3))
    for number in range(10):
        inbox.put([entry(number)])
    assert inbox.dropped == 7
    assert drain(inbox) == [7, 8, 9]


def test_bytes_are_bounded_too_and_given_back_when_taken() -> None:
    inbox = Inbox(InboxLimits(size=100))
    for number in range(10):
        inbox.put([entry(number, size=40)])
    assert (inbox.dropped, drain(inbox)) == (8, [8, 9])
    for number in range(10):
        inbox.put([entry(number, size=50)])
        assert drain(inbox) == [number]
    assert inbox.dropped == 8


def test_a_message_larger_than_the_inbox_is_kept_alone() -> None:
    inbox = Inbox(InboxLimits(size=100))
    inbox.put([entry(1)])
    inbox.put([entry(2, size=500)])
    assert (inbox.dropped, drain(inbox)) == (1, [2])


async def test_a_task_waits_until_something_comes_and_until_the_end() -> None:
    inbox = Inbox()
    waiting = asyncio.create_task(inbox.wait())
    await asyncio.sleep(0)
    inbox.put([entry(1)])
    assert await asyncio.wait_for(waiting, 1) is True
    inbox.close()
    assert await inbox.wait() is True
    assert drain(inbox) == [1]
    assert await inbox.wait() is False
    assert inbox.is_closed


async def test_several_tasks_share_and_none_sleeps_while_something_waits() -> None:
    inbox, taken = Inbox(), []

    async def work() -> None:
        while await inbox.wait():
            while (one := inbox.take()) is not None:
                taken.append(one)
                await asyncio.sleep(0)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for number in range(100):
        inbox.put([entry(number)])
        await asyncio.sleep(0)
    inbox.close()
    await asyncio.wait_for(asyncio.gather(*workers), 5)
    assert sorted(numbers(taken)) == list(range(100))


async def test_a_worker_that_is_cancelled_as_it_wakes_leaves_the_message_to_another() -> None:
    inbox = Inbox()
    first, second = asyncio.create_task(inbox.wait()), asyncio.create_task(inbox.wait())
    await asyncio.sleep(0)
    inbox.put([entry(1)])  # wakes the first
    first.cancel()
    assert await asyncio.wait_for(second, 1) is True
    assert first.cancelled()


def test_a_thread_waits_until_something_comes_and_until_the_end() -> None:
    inbox = Inbox()
    threads = Threads(inbox, 1)
    for number in range(100):
        inbox.put([entry(number)])
    eventually(lambda: len(threads.taken[0]) == 100)
    inbox.close()
    assert threads.join() == list(range(100))


@pytest.mark.parametrize("most", [1, 64])
def test_many_threads_share_and_nothing_is_lost_or_taken_twice(most: int) -> None:
    inbox = Inbox()
    threads = Threads(inbox, 8, most)
    for number in range(20_000):
        inbox.put([entry(number)])
    inbox.close()
    assert sorted(threads.join()) == list(range(20_000))
    assert all(mine == sorted(mine) for mine in threads.taken)


def test_each_waiting_thread_is_woken_for_one_message() -> None:
    inbox, meet = Inbox(), threading.Barrier(4, timeout=5)
    met: list[int] = []

    def work() -> None:
        inbox.take_many(1)
        met.append(meet.wait())  # passes only when all four hold a message at once

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: inbox._waiting == 4)
    for number in range(4):
        inbox.put([entry(number)])
    for thread in threads:
        thread.join(5)
    assert len(met) == 4


def test_what_the_putter_drops_and_threads_take_adds_up() -> None:
    inbox = Inbox(InboxLimits(messages=50, size=2000))
    threads = Threads(inbox, 3)
    for number in range(20_000):
        inbox.put([entry(number, size=number % 90 + 1)])
    inbox.close()
    taken = threads.join()
    assert len(taken) + inbox.dropped == 20_000
    assert len(set(taken)) == len(taken)
    assert inbox._bytes_in == inbox._bytes_out


def test_the_end_is_told_to_all_who_wait() -> None:
    inbox = Inbox()
    threads = Threads(inbox, 3)
    eventually(lambda: inbox._waiting == 3)
    inbox.close()
    assert threads.join() == []


def test_who_waits_goes_on_waiting_when_what_is_left_is_thrown_away() -> None:
    inbox = Inbox()
    threads = Threads(inbox, 3)
    eventually(lambda: inbox._waiting == 3)
    assert inbox.abandon() == 0
    inbox.put([entry(1)])
    inbox.close()
    assert len(threads.join()) == 1


async def test_abandoning_says_how_much_it_was() -> None:
    inbox = Inbox()
    for number in range(3):
        inbox.put([entry(number)])
    waiting = asyncio.create_task(inbox.wait())
    await eventually_async(waiting.done)
    inbox.close()
    assert inbox.abandon() == 3
    assert inbox.take() is None
