"""`hm forget`: a group that nobody reads with any more is removed, when somebody says so."""

from __future__ import annotations

import asyncio
from typing import Any

from .cli_kit import Place
from .test_hm_lag import SHOP, Store, lag, store

__all__ = ["store"]


async def forget(here: Place, *arguments: str, stdin: bytes = b"") -> Any:
    return await asyncio.to_thread(lambda: here.run("forget", *arguments, stdin=stdin))


async def test_a_group_is_forgotten_with_all_that_waits_for_it_and_no_other_is(here: Place, store: Store) -> None:
    for group in ("pin", "shop"):
        await store.kept.read(group, "orders.*", "all")
    await store.fill("orders.new", 3)
    await store.read("orders.new", "pin", 1, 0, "pin.0")
    asked = await forget(here, "pin", stdin=b"n\n")
    assert (asked.returncode, "3 messages of orders.new that it has not handled?" in asked.stderr) == (1, True)
    assert "--yes does it without asking" in (await forget(here, "pin")).stderr
    assert [one["group"] for one in await lag(here)] == ["pin", "shop"]

    done = await forget(here, "pin", "--yes")
    assert (done.returncode, done.stdout.startswith("group pin is forgotten, with 3 messages")) == (0, True)
    await store.kept.announce("orders.new")
    assert [(one["group"], one["lag"]) for one in await lag(here)] == [("shop", 3)]
    again = await forget(here, "pin", "--yes")
    assert (again.returncode, "no group called 'pin'; the groups are: shop" in again.stderr) == (2, True)


async def test_a_group_in_which_somebody_reads_is_not_forgotten(here: Place, store: Store) -> None:
    here.write("shop.py", SHOP)
    running = here.hm("run", "shop.py")
    await asyncio.to_thread(running.says, "running")
    refused = await forget(here, "shop", "--yes")
    assert (refused.returncode, "shop.0 reads in group shop: stop that first" in refused.stderr) == (1, True)
    assert [one.group for one in await store.kept.readings()] == ["shop"]
