"""Durable delivery against what is promised, whatever happens in whatever order: real nodes on a real Redis, in lives
that are killed between any two steps, frozen, cut off, stopped and begun again, while Redis is killed and restarted.

The model is what the test knows of each message (``One``); the promises are in ``World``. HIVEMIND_TEST_LONG=500 tries
so many examples, and shrinks what fails.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from .hand_loop import Clock
from .lives_kit import Being, World, shop, till
from .servers import RedisServer

pytestmark = pytest.mark.filterwarnings(  # a killed life leaves open what a killed process leaves to the kernel
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

LONG = int(os.environ.get("HIVEMIND_TEST_LONG", "0"))


PLANS = st.sampled_from(
    [
        {},
        {},
        {},
        {"fails": 1},
        {"fails": 2},
        {"fails": 9},
        {"rejects": True},
        {"holds": True},
        {"holds": True, "fails": 1},
    ]
)


class Lives(RuleBasedStateMachine):
    """What can happen to the readers of one group, and to who sends them messages."""

    server: RedisServer
    clock: Clock
    copies = 1
    hives: ClassVar[itertools.count[int]] = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.server, f"lives-{self.copies}-{next(self.hives)}", self.clock)
        self.readers: dict[int, Being] = {}
        self.tills: dict[int, Being] = {}

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.world.close()

    def finish(self) -> None:
        """Let everything come to its end, and judge."""
        world = self.world
        for being in world.beings:
            world.thaw(being)
        world.let_go()
        if not self.readers:
            self.readers[0] = world.begin(shop)
        assert world.until(world.is_done), f"it does not come to an end\n{world}"
        world.verdict(in_order=self.copies == 1 and not world.freezes)

    @initialize()
    def open(self) -> None:
        for number in range(self.copies):
            self.readers[number] = self.world.up(self.world.begin(shop, number))
        self.tills[0] = self.world.up(self.world.begin(till))

    # -- what is wanted

    @precondition(lambda self: self.tills)
    @rule(data=st.data(), plans=st.lists(PLANS, min_size=1, max_size=4))
    def send(self, data: st.DataObject, plans: list[dict[str, Any]]) -> None:
        till = self.tills[data.draw(st.sampled_from(sorted(self.tills)))]
        for plan in plans:
            self.world.send(till, **plan)

    @rule(count=st.integers(1, 60))
    def steps(self, count: int) -> None:
        self.world.steps(count)

    @rule()
    def settle(self) -> None:
        self.world.settle()

    @rule(seconds=st.sampled_from([0.5, 3.0, 9.0, 20.0]))
    def turn(self, seconds: float) -> None:
        self.world.turn(seconds)

    @rule()
    def let_go(self) -> None:
        self.world.let_go()

    # -- what goes wrong

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), how=st.sampled_from(["kill", "kill", "stop"]))
    def end_reader(self, data: st.DataObject, how: str) -> None:
        reader = self.readers.pop(data.draw(st.sampled_from(sorted(self.readers))))
        self.world.thaw(reader) if how == "stop" else None
        getattr(self.world, how)(reader)

    @precondition(lambda self: len(self.readers) < self.copies)
    @rule(data=st.data())
    def begin_reader(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([number for number in range(self.copies) if number not in self.readers]))
        self.readers[number] = self.world.begin(shop, number)

    @precondition(lambda self: self.tills)
    @rule(data=st.data())
    def kill_till(self, data: st.DataObject) -> None:
        self.world.kill(self.tills.pop(data.draw(st.sampled_from(sorted(self.tills)))))

    @precondition(lambda self: len(self.tills) < 2)
    @rule()
    def begin_till(self) -> None:
        number = 0 if 0 not in self.tills else 1
        self.tills[number] = self.world.up(self.world.begin(till, number))

    @precondition(lambda self: self.readers and self.copies > 1)
    @rule(data=st.data())
    def freeze(self, data: st.DataObject) -> None:
        self.world.freeze(self.readers[data.draw(st.sampled_from(sorted(self.readers)))])

    @rule()
    def thaw(self) -> None:
        for being in self.world.beings:
            self.world.thaw(being)

    @precondition(lambda self: self.world.beings)
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        self.world.lose(self.world.beings[data.draw(st.integers(0, len(self.world.beings) - 1))])

    @rule()
    def cut_all(self) -> None:
        self.world.cut()

    @rule()
    def restart_redis(self) -> None:
        self.world.restart()

    @rule()
    def trim(self) -> None:
        self.world.trim()

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert not self.world.wrong, self.world
        assert not self.world.faults.found, self.world.faults.found


@pytest.mark.timeout(LONG * 10 + 120)
@pytest.mark.parametrize("copies", [1, 3])
def test_whatever_happens_what_is_promised_is_kept(own_server: RedisServer, copies: int) -> None:
    clock = Clock()
    machine = type("LivesHere", (Lives,), {"server": own_server, "clock": clock, "copies": copies})
    phases = (Phase.explicit, Phase.reuse, Phase.generate, *((Phase.shrink,) if LONG else ()))
    profile = settings(
        max_examples=LONG or (24 if copies == 1 else 12),
        stateful_step_count=40,
        deadline=None,
        derandomize=not LONG,
        phases=phases,
        report_multiple_bugs=False,
        database=None,
    )
    with clock.installed():
        run_state_machine_as_test(machine, settings=profile)
