"""Durable delivery under fire: ``python -m tests.soak --minutes 10 --seed 7``, which is `make soak`; 2 minutes in the
tests.

Three services send numbered messages; two groups read them, one of three copies and one of one. Meanwhile readers and
senders are killed with -9 and begun again, readers are frozen and thawed, Redis is killed and frozen, connections are
cut, reset, swallowed, and robbed of their answers; in an order that the seed chooses, each kind at least once. What the
handlers wrote down is the truth; soak_books.py says what has to be so.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import hiredis
import orjson

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.data.registry import Registry
from hivemind.topics import Names

from .proxy import Mode
from .soak_books import Books, Finding, Redis, Sale, Trouble, spread
from .soak_crew import FAR, HIVE, READERS, SENDERS, Crew, Failed, Network
from .soak_nodes import shop

CALM = (2.0, 4.0)  # seconds between two troubles
LAST_PART = 25.0  # seconds that are left when the last trouble has ended: what is held comes to its end
DRAIN = 30.0  # seconds in which something must be handled at the end, as long as anything is left
LEASE = 6.0


class Soak(Crew):
    """One run, in ``folder``; ``run`` prints what happens, and the outcome."""

    def __init__(self, folder: Path, minutes: float, seed: int) -> None:
        super().__init__(folder)
        self.minutes, self.seed = minutes, seed
        self.dice = random.Random(seed)
        self.troubles: list[Trouble] = []
        self._read: Counter[Path] = Counter()
        self._counted: Counter[str] = Counter()

    def run(self) -> bool:
        """Whether all promises were kept."""
        began = time.monotonic()
        say(f"soak of {self.minutes:g} min, SEED={self.seed}; books and logs: {self.folder}")
        with self.server:
            self.network = Network(self.server.socket)
            try:
                for name in self.members:
                    self.begin(name)
                self.wait_for("messages flow", lambda: self.count()["ends"] > 50, 30.0)
                self.trouble(began + self.minutes * 60 - LAST_PART)
                books = self.close_books()
            except Failed as failed:
                self.findings.append(Finding("it runs to the end", ok=False, figures=str(failed)))
                books = None
            finally:
                self.end_all()
                self.network.close()
        return self.report(books, time.monotonic() - began)

    # -- troubles

    def trouble(self, until: float) -> None:
        """One trouble after the other: each kind once, in some order, then any."""
        kinds = [*TROUBLES]
        self.dice.shuffle(kinds)
        number = 0
        while time.monotonic() < until or number < len(kinds):
            kind = kinds[number] if number < len(kinds) else self.dice.choice([*TROUBLES])
            before = len(self.troubles)
            TROUBLES[kind](self)
            number += 1
            new = self.troubles[before:]
            told = (
                f"{new[0].what} {', '.join(one.who for one in new)}".strip() + f", {new[0].ended - new[0].began:.1f} s"
            )
            time.sleep(self.dice.uniform(*CALM))
            counts = self.count()
            say(f"{number:>3}  {told:<54} {counts['safe'] * 10:>7} safe {counts['ends']:>8} handled")

    @contextmanager
    def noted(self, what: str, who: str = "", *, is_deadly: bool = False) -> Iterator[None]:
        """Write down what is done to whom, and for how long."""
        began = time.time()
        yield
        self.troubles.append(Trouble(what, who, began, time.time(), is_deadly))

    def kill_reader(self) -> None:
        """Kill a reader; it is begun again at once, or after its lease, or somewhere between."""
        self._kill(self.dice.choice(READERS))

    def kill_alone(self) -> None:
        """Kill the only reader of a group."""
        self._kill("books.0")

    def kill_sender(self) -> None:
        """Kill a sender."""
        self._kill(f"{self.dice.choice(SENDERS)}.0")

    def _kill(self, name: str) -> None:
        away = self.dice.choice([0.0, 1.0, 3.0, 10.0])
        with self.noted(f"kill {'reader' if name in READERS else 'sender'}", name, is_deadly=True):
            self.end(name)
        time.sleep(away)
        self.begin(name)
        self.troubles[-1] = replace(self.troubles[-1], back=time.time())

    def kill_two(self) -> None:
        """Kill two copies at once."""
        names = self.dice.sample(READERS[:3], 2)
        for name in names:
            with self.noted("kill reader", name, is_deadly=True):
                self.end(name)
        time.sleep(self.dice.choice([0.0, 10.0]))
        for name in names:
            self.begin(name)

    def freeze_reader(self) -> None:
        """Freeze a reader for a moment."""
        self._freeze(self.dice.uniform(0.5, 4.0))

    def freeze_reader_long(self) -> None:
        """Freeze a reader until others have taken over."""
        self._freeze(self.dice.uniform(9.0, 12.0))

    def _freeze(self, seconds: float) -> None:
        name = self.dice.choice(READERS)
        with self.noted("freeze reader", name, is_deadly=seconds > LEASE / 2):
            self.signal(name, signal.SIGSTOP)
            time.sleep(seconds)
            self.signal(name, signal.SIGCONT)

    def kill_redis(self) -> None:
        """Kill Redis; it comes back with what is on its disk."""
        with self.noted("kill redis"):
            self.server.kill()
            time.sleep(self.dice.uniform(0.0, 3.0))
            self.server.start()

    def freeze_redis(self) -> None:
        """Freeze Redis."""
        with self.noted("freeze redis"):
            self.server.freeze()
            time.sleep(self.dice.uniform(1.0, 4.0))
            self.server.thaw()

    def cut_all(self) -> None:
        """Let Redis close every connection, several times."""
        with self.noted("cut all"):
            for _ in range(self.dice.randint(1, 3)):
                for kind in ("normal", "pubsub"):
                    with suppress(OSError, hiredis.HiredisError):
                        self.server.command("CLIENT", "KILL", "TYPE", kind)
                time.sleep(self.dice.uniform(0.0, 0.5))

    def reset_network(self) -> None:
        """Reset the connections of those who are far away, for a while."""
        self._network(Mode.RESET, self.dice.uniform(0.1, 2.0), "reset network")

    def swallow_network(self) -> None:
        """Hold back all that those far away say and hear."""
        self._network(Mode.BLACKHOLE, self.dice.choice([2.0, 4.0, 10.0]), "swallow network")

    def rob_network(self) -> None:
        """Lose the answers to those far away; then their connections are cut."""
        self._network(Mode.EAT_REPLIES, self.dice.uniform(0.2, 1.5), "rob network")

    def _network(self, mode: Mode, seconds: float, what: str) -> None:
        began = time.time()
        self.network.call(self.network.proxy.set, mode)
        time.sleep(seconds)
        self.network.call(self.network.proxy.set, Mode.PASS)
        if mode is not Mode.RESET:
            self.network.call(self.network.proxy.cut)
        for one in FAR:  # each of them stands as if frozen
            who = one if "." in one else f"{one}.0"
            self.troubles.append(Trouble(what, who, began, time.time(), is_deadly=seconds > LEASE / 2))

    # -- the end

    def close_books(self) -> Books:
        """Stop the senders, let everything come to its end, and ask Redis what it knows."""
        self.stop([f"{one}.0" for one in SENDERS])
        self.drain()
        self.wait_for(
            "the registry has the last figures", lambda: self.told() == self.told_by_diaries(), 10.0, must=False
        )
        told = self.told()
        redis = Redis(self.streams(), self.letters(), self.left(), told)
        self.stop(READERS)
        return Books(self.diaries, self.troubles, redis, shop.RETRIES)

    def drain(self) -> None:
        """Wait until nothing is left to be handled, as long as it gets less. Raises Failed."""
        while before := sum(self.left().values()):
            self.wait_for("less is left", functools.partial(self.is_less_left, before), DRAIN)

    def is_less_left(self, before: int) -> bool:
        """Whether something was handled."""
        return sum(self.left().values()) < before

    def left(self) -> dict[str, int]:
        """How many messages each group has yet to read or to acknowledge."""
        found: Counter[str] = Counter({"shop": 0, "books": 0})
        for topic in self.topics:
            stream = Names(HIVE).stream(topic)
            for group in self.ask("XINFO", "GROUPS", stream):
                fields = dict(zip(group[::2], group[1::2], strict=True))
                after = self.ask("XRANGE", stream, "(" + fields["last-delivered-id"], "+", "COUNT", 100)
                found[fields["name"]] += fields["pending"] + len(after)
        return dict(found)

    @property
    def topics(self) -> list[str]:
        """What is sent."""
        return [f"sale.{one}" for one in SENDERS]

    def streams(self) -> Counter[Sale]:
        """What is in the streams, and how often."""
        found: Counter[Sale] = Counter()
        for topic in self.topics:
            for _, fields in self.ask("XRANGE", Names(HIVE).stream(topic), "-", "+"):
                found[topic, orjson.loads(fields[1])["d"]["n"]] += 1
        return found

    def letters(self) -> dict[str, Counter[Sale]]:
        """The dead letters of each group."""
        found: dict[str, Counter[Sale]] = {"shop": Counter(), "books": Counter()}
        for topic in self.topics:
            for _, fields in self.ask("XRANGE", Names(HIVE).letters(topic), "-", "+"):
                letter = orjson.loads(fields[1])
                found[letter["group"]][topic, orjson.loads(letter["message"])["d"]["n"]] += 1
        return found

    def told(self) -> dict[str, tuple[int, int]]:
        """What the living readers told the registry: handled and failed, by the names of their diaries."""
        instances = asyncio.run(self._instances())
        readers = [one for one in instances if one.instance in READERS and not one.is_lost]
        return {
            f"{one.instance}.{one.about.pid}": (one.stats.subscriptions[0].handled, one.stats.subscriptions[0].failed)
            for one in readers
        }

    async def _instances(self) -> Any:
        async with Commands(Endpoint.parse(self.server.url)) as commands:
            return await Registry(commands, Functions(commands), Names(HIVE)).instances()

    def told_by_diaries(self) -> dict[str, tuple[int, int]]:
        """The same as the living wrote it down."""
        found = {}
        for name in READERS:
            process = self.members[name].process
            assert process is not None
            text = (self.diaries / f"{name}.{process.pid}.jsonl").read_text()
            found[f"{name}.{process.pid}"] = (text.count('"what": "ends"'), text.count('"what": "fails"'))
        return found

    def ask(self, *words: str | int) -> Any:
        """One command; a server that does not answer now fails the soak."""
        try:
            return self.server.command(*words, timeout=30.0)
        except (OSError, hiredis.HiredisError) as error:
            raise Failed(f"{' '.join(map(str, words[:3]))}: {error}") from None

    def count(self) -> Counter[str]:
        """How often something was written down so far."""
        for path in self.diaries.glob("*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._read[path])
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[path] += len(whole)
            for what in ("ends", "safe"):
                self._counted[what] += whole.count(b'"what": "%b"' % what.encode())
        return self._counted

    def wait_for(self, what: str, check: Callable[[], bool], within: float, *, must: bool = True) -> None:
        """Look now and then. Raises Failed."""
        deadline = time.monotonic() + within
        while not check():
            if time.monotonic() > deadline:
                if must:
                    raise Failed(f"not within {within:g} s: {what}; left {self.left()}")
                return
            time.sleep(0.2)

    def report(self, books: Books | None, took: float) -> bool:
        """Print how long it took to recover, what was found, and the outcome; keep the evidence."""
        if books is not None:
            self.findings += books.findings()
            say(f"\n{'what was done':<20}{'until the group goes on':>42}")
            for what, times in sorted(books.recoveries().items()):
                say(f"{what:<20}{spread(times):>42}")
            say(f"\n{'group':<8}{'sent':>8}{'handled':>9}{'lost':>6}{'twice':>7}{'disordered':>12}{'dead':>6}")
            for group in books.groups:
                numbers = books.numbers(group)
                say(
                    f"{group:<8}{numbers[0]:>8}{numbers[1]:>9}{numbers[2]:>6}{numbers[3]:>7}{numbers[4]:>12}{numbers[5]:>6}"
                )
        say("")
        for one in self.findings:
            say(f"{'ok  ' if one.ok else 'FAIL'} {one.what}\n       {one.figures}")
            for line in one.evidence[:5]:
                say(f"       {line}")
        passed = all(one.ok for one in self.findings)
        evidence = [asdict(one) for one in self.findings]
        (self.folder / "findings.json").write_text(json.dumps(evidence, indent=1))
        (self.folder / "troubles.json").write_text(json.dumps([asdict(one) for one in self.troubles], indent=1))
        say(
            f"\n{'PASS' if passed else 'FAIL'} after {took:.0f} s, SEED={self.seed}"
            + ("" if passed else f"; evidence: {self.folder}")
        )
        return passed


TROUBLES: dict[str, Callable[[Soak], None]] = {
    "kill reader": Soak.kill_reader,
    "kill two readers": Soak.kill_two,
    "kill the only reader": Soak.kill_alone,
    "kill sender": Soak.kill_sender,
    "freeze reader": Soak.freeze_reader,
    "freeze reader long": Soak.freeze_reader_long,
    "kill redis": Soak.kill_redis,
    "freeze redis": Soak.freeze_redis,
    "cut all": Soak.cut_all,
    "reset network": Soak.reset_network,
    "swallow network": Soak.swallow_network,
    "rob network": Soak.rob_network,
}


def say(text: str) -> None:
    """Tell whoever watches."""
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Durable delivery under fire.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    chosen = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="hm-soak-"))
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1_000_000)
    if not Soak(folder, chosen.minutes, seed).run():
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
