"""What Prometheus reads of a hive."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
import pytest
import yaml
from prometheus_client import Metric, parser
from prometheus_client.openmetrics import parser as open_parser

from hivemind.data.backlog import GroupBacklog, TopicBacklog
from hivemind.data.durability import Durability
from hivemind.data.entries import KeptTopic
from hivemind.data.records import ResponderRecord, ServiceRecord, Stats, SubscriptionRecord
from hivemind.picture.declared import Declared
from hivemind.picture.durable import DurableView
from hivemind.picture.metrics import exposition
from hivemind.picture.snapshot import Snapshot, nodes_of, view_of
from hivemind.picture.state import State

from .root_kit import FakeSource, instance, running
from .waiting import eventually

ROOT = Path(__file__).parent.parent
OPEN = "application/openmetrics-text; version=1.0.0"
EVIL = 'bat"\\\n{signal}'

plain: Callable[[str], Iterable[Metric]] = parser.text_string_to_metric_families
open_metrics: Callable[[str], Iterable[Metric]] = open_parser.text_string_to_metric_families

Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples(families: Iterable[Metric]) -> dict[Sample, float]:
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for each in families for one in each.samples}


def found(snapshot: Snapshot) -> dict[Sample, float]:
    """What both formats say, which is the same."""
    text, kind = exposition(snapshot)
    assert kind.startswith("text/plain")
    said = samples(plain(text.decode()))
    text, kind = exposition(snapshot, OPEN)
    assert kind.startswith("application/openmetrics-text")
    assert samples(open_metrics(text.decode())) == said
    return said


def of(metric: str, /, **labels: str) -> Sample:
    return f"hivemind_{metric}", tuple(sorted({"hive": "gotham", **labels}.items()))


BATMAN = instance(
    "batman.0",
    stats=Stats(
        services=(ServiceRecord(EVIL, sent=7, restarts=2),),
        subscriptions=(
            SubscriptionRecord(
                "bat-*",
                "save",
                received=5,
                handled=4,
                missed=1,
                inbox=3,
                longest=2,
                times=(3300, 3, 2, 1),
                delays=(40, 0, 4),
            ),
            SubscriptionRecord("bat-*", "save", received=1, times=(2_000_000, 13, 1)),
            SubscriptionRecord("rob-*", "idle"),
            SubscriptionRecord(EVIL, "save", times=(7_000, 3, 1)),
        ),
        responders=(ResponderRecord("car", "drive", received=9, in_hand=2, times=(1000, 3, 1), delays=(5000, 20, 1)),),
        outbox=11,
        memory=4096,
        cpu=0.25,
    ),
)
SAVES = {"node": "batman", "number": "0", "pattern": "bat-*", "handler": "save", "group": ""}
BUCKETS = [("0.0005", 0), ("0.001", 2), ("0.005", 3), ("1.0", 3), ("5.0", 4), ("600.0", 4), ("+Inf", 4)]
GROUP = GroupBacklog("orders", "shop", 40, 2, 3.5, 1.0, ("shop.0",))
ORDERS = TopicBacklog(KeptTopic("orders", 0), 100, 4096, 6, (GROUP,))


def snapshot_of_all() -> Snapshot:
    views = [view_of(one) for one in (BATMAN, instance("joker.1", beat=None))]
    durable = DurableView(Durability(topics=(ORDERS,)))
    state = State(Declared(("batman.0", "joker.1")))
    return Snapshot("gotham", "redis://x", 100.0, nodes=nodes_of(views), durable=durable, state=state)


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        (of("redis_up"), 1),
        (of("well"), 0),
        (of("level", level="trouble"), 1),
        (of("level", level="well"), 0),
        (of("declared_instances"), 2),
        (of("read_timestamp_seconds"), 100.0),
        (of("up", node="batman", number="0"), 1),
        (of("up", node="joker", number="1"), 0),
        (of("instance_outbox", node="batman", number="0"), 11),
        (of("instance_start_time_seconds", node="batman", number="0"), 50.0),
        (of("service_sent_total", node="batman", number="0", topic=EVIL), 7),
        (of("service_restarts_total", node="batman", number="0", topic=EVIL), 2),
        (of("subscription_received_total", node="batman", number="0", pattern="bat-*", handler="save", group=""), 6),
        (of("subscription_missed_total", node="batman", number="0", pattern="bat-*", handler="save", group=""), 1),
        (of("subscription_longest_seconds", node="batman", number="0", pattern="bat-*", handler="save", group=""), 2),
        (of("responder_received_total", node="batman", number="0", name="car"), 9),
        (of("responder_in_hand", node="batman", number="0", name="car"), 2),
        (of("instance_memory_bytes", node="batman", number="0"), 4096),
        (of("instance_cpu_ratio", node="batman", number="0"), 0.25),
        *((of("subscription_handler_seconds_bucket", **SAVES, le=le), count) for le, count in BUCKETS),
        (of("subscription_handler_seconds_count", **SAVES), 4),
        (of("subscription_handler_seconds_sum", **SAVES), 2.0033),
        (of("subscription_delay_seconds_bucket", **SAVES, le="0.0005"), 4),
        (of("subscription_delay_seconds_sum", **SAVES), 0.00004),
        (of("responder_handler_seconds_bucket", node="batman", number="0", name="car", le="0.001"), 1),
        (of("responder_delay_seconds_bucket", node="batman", number="0", name="car", le="600.0"), 0),
        (of("responder_delay_seconds_count", node="batman", number="0", name="car"), 1),
        (of("topic_messages", topic="orders"), 100),
        (of("topic_dead_letters", topic="orders"), 6),
        (of("group_lag", topic="orders", group="shop"), 40),
        (of("group_oldest_seconds", topic="orders", group="shop"), 3.5),
        (of("group_readers", topic="orders", group="shop"), 1),
    ],
    ids=str,
)
def test_what_is_counted_is_there_under_the_conventions_of_prometheus(sample: Sample, value: float) -> None:
    assert found(snapshot_of_all())[sample] == value


NAMES = re.compile(r"hivemind_[a-z_]+")


def test_the_dashboard_the_alerts_and_the_page_that_tells_of_them_name_what_there_is() -> None:
    known = {name for name, _ in found(snapshot_of_all())}
    board = orjson.loads((ROOT / "conf" / "grafana.json").read_bytes())
    asked = [each["expr"] for panel in board["panels"] for each in panel["targets"]]
    assert {name for expr in asked for name in NAMES.findall(expr)} <= known
    page = (ROOT / "docs" / "metrics.md").read_text()
    alerts = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    rules = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    assert {name for expr in rules for name in NAMES.findall(expr)} <= known
    assert [panel["id"] for panel in board["panels"]] == [*range(1, len(board["panels"]) + 1)]


def test_of_what_has_handled_nothing_there_is_no_histogram() -> None:
    measured = {labels for name, labels in found(snapshot_of_all()) if name.startswith("hivemind_subscription_handler")}
    assert {dict(labels)["pattern"] for labels in measured} == {"bat-*", EVIL}


def test_of_who_is_lost_nothing_is_counted() -> None:
    lost = {name for name, labels in found(snapshot_of_all()) if ("node", "joker") in labels}
    assert lost == {"hivemind_up", "hivemind_instance_info"}


def test_while_redis_does_not_answer_nothing_is_said_of_what_is_in_it() -> None:
    silent = Snapshot("gotham", "redis://x", 100.0, silent_since=101.0, nodes=snapshot_of_all().nodes)
    said = found(silent)
    assert (said[of("redis_up")], said[of("level", level="unknown")]) == (0, 1)
    assert not [name for name, labels in said if "node" in dict(labels)]


def test_a_hive_that_could_not_be_seen_has_no_redis_that_is_up() -> None:
    said = found(Snapshot("gotham", "redis://x", why="it does not run"))
    assert (said[of("redis_up")], said[of("well")], said[of("level", level="unknown")]) == (0, 0, 1)


def test_the_root_serves_them() -> None:
    with running(FakeSource([BATMAN])) as page:
        eventually(lambda: page.monitor.snapshot.instances)
        status, headers, text = page.get("/metrics", Accept=OPEN)
        for nonsense in ("application/openmetrics-text;version=x", "text/plain;version=,;;=", "*" * 9000):
            assert page.get("/metrics", Accept=nonsense)[0] == 200
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "application/openmetrics-text")
    assert samples(open_metrics(text))[of("instance_outbox", node="batman", number="0")] == 11
