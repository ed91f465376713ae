from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from hivemind.data.records import Instance, ServiceRecord, Stats, SubscriptionRecord
from hivemind.errors import RedisUnavailable
from hivemind.picture import source as sources
from hivemind.picture.declared import Declared
from hivemind.picture.health import Level
from hivemind.picture.monitor import MOST, Beat, History, Monitor
from hivemind.picture.past import Past
from hivemind.picture.recorder import Recorder
from hivemind.picture.snapshot import Snapshot, nodes_of, view_of
from hivemind.picture.source import Asked
from hivemind.picture.state import State
from hivemind.root.pages.node import Node as NodePage
from hivemind.root.pages.nodes import Nodes
from hivemind.root.paging import Window, to_json
from hivemind.root.wording import rate
from hivemind.settings import load_settings

from .root_kit import FakeSource, instance, tree_of
from .waiting import eventually_async


def snapshot_of(*instances: Instance, read_at: float | None = 100.0, silent_since: float | None = None) -> Snapshot:
    views = [view_of(one, 100.0) for one in instances]
    return Snapshot("gotham", "redis://localhost", read_at, silent_since, nodes_of(views))


@asynccontextmanager
async def watching(source: FakeSource, every: float = 60.0) -> AsyncIterator[Monitor]:
    monitor = Monitor(source, "gotham", "redis://localhost", every=every, clock=lambda: 1000.0)
    running = asyncio.create_task(monitor.run())
    try:
        yield monitor
    finally:
        monitor.close()
        await asyncio.wait_for(running, 5)


def rate_after(before: Beat, now: Beat) -> float | None:
    history = History()
    history.follow([instance(beat=before.at, stats=before.stats)])
    return history.follow([instance(beat=now.at, stats=now.stats)])[0].services[0].rate


def sends(name: str, sent: int) -> Stats:
    return Stats(services=(ServiceRecord(name, sent=sent),))


def test_a_rate_is_the_growth_of_a_total_between_two_beats() -> None:
    assert rate_after(Beat(10.0, sends("a", 100)), Beat(14.0, sends("a", 120))) == 5.0
    assert rate_after(Beat(10.0, sends("a", 7)), Beat(14.0, sends("a", 7))) == 0.0


def test_a_total_that_was_not_there_before_has_no_rate_yet() -> None:
    assert rate_after(Beat(10.0, Stats()), Beat(12.0, sends("new", 50))) is None
    assert rate_after(Beat(10.0, sends("old", 5)), Beat(12.0, sends("new", 50))) is None


def test_two_readings_of_the_same_beat_give_no_rate() -> None:
    assert rate_after(Beat(10.0, sends("a", 1)), Beat(10.0, sends("a", 9))) is None


def test_rates_are_taken_by_redis_clock_from_beat_to_beat_however_often_one_reads() -> None:
    history = History()
    history.follow([instance(beat=100.0, sent={"signal": 0})])
    views = [history.follow([instance(beat=102.0, sent={"signal": 10})])[0] for _ in range(3)]
    assert views[-1].services[0].rate == 5.0


def test_a_rate_looks_back_ten_seconds_so_that_a_slow_service_does_not_flicker() -> None:
    history = History()
    views = [history.follow([instance(beat=beat, sent={"slow": beat // 5})])[0] for beat in range(0, 60, 2)]
    assert [view.services[0].rate for view in views[10:]] == [pytest.approx(0.2, abs=0.1)] * 20


def test_a_new_incarnation_starts_with_no_rate() -> None:
    history = History()
    history.follow([instance(beat=100.0, sent={"signal": 5000})])
    history.follow([instance(beat=102.0, sent={"signal": 5010})])
    (view,) = history.follow([instance(beat=104.0, incarnation=2, sent={"signal": 3})])
    assert view.services[0].rate is None


def test_a_clock_of_redis_that_is_set_back_gives_no_negative_rate() -> None:
    history = History()
    history.follow([instance(beat=5000.0, sent={"signal": 10})])
    history.follow([instance(beat=100.0, sent={"signal": 20})])
    (view,) = history.follow([instance(beat=102.0, sent={"signal": 24})])
    assert view.services[0].rate == 2.0


def test_a_lost_instance_is_shown_with_what_was_last_known_of_it() -> None:
    history = History()
    history.follow([instance(beat=100.0, received={"bat-signal-*": 12})])
    (view,) = history.follow([instance(beat=None)])
    assert (view.record.state, view.record.about.host, view.record.about.pid) == ("lost", "cave", 4242)
    assert view.subscriptions[0].record.received == 12
    assert view.seen == 100.0


def test_an_instance_that_was_lost_before_the_root_began_is_shown_as_such() -> None:
    (view,) = History().follow([instance(beat=None)])
    page = tree_of(NodePage(), Snapshot("gotham", "", 1.0, None, nodes_of([view])), 10.0, node="batman")
    shown = page["lists"]["instances"][0]
    assert (shown["state"], shown["fields"]["since"]) == ("lost", "not seen since root started")


def test_who_left_the_registry_is_forgotten() -> None:
    history = History()
    history.follow([instance("joker.0")])
    assert history.follow([]) == ()


def test_instances_are_sorted_by_number_and_the_root_comes_last() -> None:
    names = ["root.0", "zorro.0", "batman.10", "batman.2"]
    nodes = nodes_of([view_of(instance(name)) for name in names])
    assert [node.name for node in nodes] == ["batman", "zorro", "root"]
    assert [view.record.instance for view in nodes[0].instances] == ["batman.2", "batman.10"]


def test_a_hive_that_runs_is_well_and_its_root_is_counted_no_node() -> None:
    health = snapshot_of(instance("batman.0"), instance("batman.1"), instance("root.0")).health
    assert health.level is Level.WELL
    assert health.sentence == "gotham is well: 2 instances of 1 node run"


def test_a_lost_instance_is_trouble_and_is_named() -> None:
    health = snapshot_of(instance("batman.0"), instance("joker.0", beat=None)).health
    assert health.level is Level.TROUBLE
    assert "joker.0 is lost" in health.sentence


def test_a_service_that_waits_after_a_failure_is_trouble() -> None:
    failing = instance("penguin.0", stats=Stats(services=(ServiceRecord("umbrella", "backoff"),)))
    health = snapshot_of(failing).health
    assert (health.level, health.sentence) == (
        Level.TROUBLE,
        "gotham is not well: service umbrella of penguin.0 fails",
    )


def test_a_fenced_instance_is_trouble_and_one_that_stops_is_worth_a_note() -> None:
    assert snapshot_of(instance(stats=Stats("fenced"))).health.level is Level.TROUBLE
    stopping = snapshot_of(instance("joker.0", stats=Stats("stopping"))).health
    assert stopping.level is Level.NOTE
    assert "joker.0 (stopping)" in stopping.sentence


def test_losses_are_told_also_when_all_runs() -> None:
    lossy = instance(stats=Stats(subscriptions=(SubscriptionRecord("alert.*", missed=2, dropped=1, failed=4),)))
    health = snapshot_of(lossy).health
    assert health.level is Level.NOTE
    assert health.sentence.endswith("1 node runs; 2 messages missed; 1 message dropped; 4 messages failed in a handler")


def test_a_hive_with_nothing_but_its_root_says_so() -> None:
    assert snapshot_of(instance("root.0")).health.sentence == "gotham is empty: no node has joined"


def test_silence_of_redis_comes_before_everything_else() -> None:
    lost = instance(beat=None)
    assert snapshot_of(lost, silent_since=5.0).health.level is Level.UNKNOWN
    assert snapshot_of(read_at=None).health.level is Level.UNKNOWN


def test_json_has_the_registrys_fields_and_the_rates() -> None:
    history = History()
    history.follow([instance(beat=100.0, sent={"signal": 0}, received={"x.*": 0})])
    views = history.follow([instance(beat=102.0, sent={"signal": 2}, received={"x.*": 8})])
    found = to_json(Snapshot("gotham", "redis://localhost", 1.0, None, nodes_of(views)), Window())
    one = found["nodes"][0]["instances"][0]
    assert (one["instance"], one["state"], one["seen"]) == ("batman.0", "running", 102.0)
    assert (one["services"][0]["rate"], one["subscriptions"][0]["rate"]) == (1.0, 4.0)


@pytest.mark.parametrize(
    ("per_second", "text"), [(None, "–"), (0.0, "0/s"), (0.05, "3.0/min"), (0.2, "0.2/s"), (12345.6, "12,346/s")]
)
def test_rates_are_told_with_the_digits_that_matter(per_second: float | None, text: str) -> None:
    assert rate(per_second) == text


def test_a_state_that_we_do_not_know_gets_no_colour_of_its_own() -> None:
    odd = instance(stats=Stats('"><script>'))
    shown = tree_of(NodePage(), snapshot_of(odd), node="batman")["lists"]["instances"][0]
    assert (shown["state"], shown["fields"]["state"]) == ("unknown", '"><script>')


async def test_a_notice_is_read_at_once_and_not_at_the_next_beat() -> None:
    source = FakeSource([instance("batman.0")])
    async with watching(source) as monitor:
        await eventually_async(lambda: monitor.snapshot.instances)
        source.listed.append(instance("joker.0"))
        monitor.notice()
        await eventually_async(lambda: len(monitor.snapshot.instances) == 2, within=2.0)


async def test_many_notices_at_once_cost_one_reading() -> None:
    source = FakeSource([instance()])
    async with watching(source) as monitor:
        await eventually_async(lambda: source.reads == 1)
        for _ in range(100):
            monitor.notice()
        await eventually_async(lambda: source.reads > 1)
    assert source.reads == 2


async def test_who_is_told_of_is_read_alone_and_who_has_left_is_gone() -> None:
    source = FakeSource([instance("batman.0"), instance("robin.0")])
    async with watching(source) as monitor:
        await eventually_async(lambda: len(monitor.snapshot.instances) == 2)
        source.listed[0] = instance("joker.0")
        monitor.notice("joker.0")
        await eventually_async(lambda: len(monitor.snapshot.instances) == 3, within=2.0)
        monitor.notice("batman.0")
        await eventually_async(lambda: [one.name for one in monitor.snapshot.nodes] == ["joker", "robin"], within=2.0)
        assert (source.reads, source.alone) == (1, 2)
        for number in range(MOST + 1):
            monitor.notice(f"crowd.{number}")
        await eventually_async(lambda: source.reads == 2, within=2.0)


async def test_while_redis_is_away_who_is_told_of_does_not_make_the_others_seem_alive() -> None:
    source = FakeSource([instance("batman.0")])
    async with watching(source, every=0.5) as monitor:
        await eventually_async(lambda: monitor.snapshot.instances)
        source.error = RedisUnavailable("gone")
        await eventually_async(lambda: monitor.snapshot.silent_since is not None)
        reads = source.reads
        monitor.notice("batman.0")
        await eventually_async(lambda: source.reads > reads)
        assert source.alone == 0


async def test_while_redis_is_away_the_last_the_last_picture_stays_and_says_since_when() -> None:
    source = FakeSource([instance()])
    async with watching(source, every=0.01) as monitor:
        await eventually_async(lambda: monitor.snapshot.instances)
        source.error, source.why = RedisUnavailable("gone"), "it is stopped by a signal"
        await eventually_async(lambda: monitor.snapshot.silent_since == 1000.0)
        assert monitor.snapshot.instances
        said = tree_of(Nodes(), monitor.snapshot, 1060.0)["fields"]["health"]
        assert said.startswith("Redis has not answered since ")
        assert said.endswith("(1 min 0 s): it is stopped by a signal. What you see is what was last known.")
        assert "it is stopped by a signal" in monitor.snapshot.health.sentence
        source.error = None
        await eventually_async(lambda: monitor.snapshot.silent_since is None)
        assert monitor.snapshot.why == ""


async def test_a_source_that_fails_in_an_unforeseen_way_does_not_end_the_monitor() -> None:
    source = FakeSource([instance()], error=KeyError("a fault of ours"))
    async with watching(source, every=0.01) as monitor:
        await eventually_async(lambda: monitor.snapshot.silent_since is not None)
        source.error = None
        await eventually_async(lambda: monitor.snapshot.instances)


async def test_nor_does_what_is_made_of_what_it_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Past:
        raise RecursionError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "follow", broken)
        source = FakeSource([instance()])
        async with watching(source, every=0.01) as monitor:
            await eventually_async(lambda: source.reads > 3)
            assert monitor.snapshot.silent_since is not None
            patch.undo()
            await eventually_async(lambda: monitor.snapshot.instances)
            assert monitor.snapshot.silent_since is None


async def test_a_redis_that_hangs_is_noticed_while_the_reading_still_waits() -> None:
    class Hanging(FakeSource):
        async def instances(self) -> list[Instance]:
            await released.wait()
            return self.listed

    released = asyncio.Event()
    async with watching(Hanging([instance()]), every=0.05) as monitor:
        await eventually_async(lambda: monitor.snapshot.silent_since is not None)
        released.set()
        await eventually_async(lambda: monitor.snapshot.instances)


@dataclass
class Supervised(FakeSource):
    """A registry that answers at once, and a hived that is asked beside it."""

    hived: Asked | None = None

    async def state(self, instances: Sequence[Instance]) -> State:
        assert self.hived is not None
        await self.hived.ask()
        return State(self.hived.said)


async def test_a_hived_that_is_slower_than_a_beat_is_no_redis_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()

    def slow(_: object) -> Declared:
        released.wait(10)
        return Declared(("batman.0",))

    monkeypatch.setattr(sources, "declared", slow)
    hived = Asked(load_settings(None, {"HOME": "/h", "HIVEMIND_HEARTBEAT": "0.2"}))
    source = Supervised([instance()], hived=hived)
    async with watching(source, every=0.2) as monitor:
        await eventually_async(lambda: source.reads > 2)
        assert monitor.snapshot.state.should == Declared()
        released.set()
        await eventually_async(lambda: monitor.snapshot.state.should.instances)
    assert "Redis does not answer" not in caplog.text


async def test_a_slow_viewer_gets_the_newest_picture_and_no_queue() -> None:
    source = FakeSource([instance()])
    async with watching(source, every=0.005) as monitor:
        updates = monitor.updates()
        first = await anext(updates)
        await eventually_async(lambda: source.reads > 20)
        second = await asyncio.wait_for(anext(updates), 2)
        assert second is monitor.snapshot
        assert second is not replace(first)


async def test_closing_ends_every_viewer() -> None:
    async with watching(FakeSource()) as monitor:
        viewers = [asyncio.create_task(_drain(monitor)) for _ in range(3)]
        await eventually_async(lambda: monitor.snapshot.read_at is not None)
        monitor.close()
        monitor.close()
        await asyncio.wait_for(asyncio.gather(*viewers), 2)


async def _drain(monitor: Monitor) -> None:
    async for _ in monitor.updates():
        pass
