"""The item of what was asked of the hiveds, and what became of it."""

from __future__ import annotations

from ...supervisor.actions import Verb
from ..errands import Errand, Told, results_of
from ..wording import clock
from .page import Item, item


def errand_item(errand: Errand) -> Item:
    """How far it is, and each program on each host."""
    told = [(answer.hived.host, one) for answer in errand.answers for one in results_of(answer)]
    through = sum(one.ok is not None for _, one in told)
    is_over = errand.over.is_set()
    state = "note" if not is_over else "well" if errand.is_well else "trouble"
    request = errand.request
    fields = {
        "what": f"{request.verb} {errand.target}" + (f" to {request.replicas}" if request.verb is Verb.SCALE else ""),
        "how": _how(errand, through, len(told)),
        "when": f"asked at {clock(errand.begun)}",
        "doing": errand.doing,
        "error": errand.error,
        "value": str(through),
        "max": str(max(1, len(told))),
    }
    hosts = {host for host, _ in told}
    results = [_result(one, host, show_host=len(hosts) > 1) for host, one in told]
    return item(f"{errand.begun:.6f}", state, fields, {"results": results})


def _how(errand: Errand, through: int, total: int) -> str:
    if errand.over.is_set():
        return "done" if errand.is_well else "not all of it was done"
    return f"{through} of {total} through" if total else "asking every hived"


def _result(one: Told, host: str, *, show_host: bool) -> Item:
    state = "unknown" if one.ok is None else "well" if one.ok else "trouble"
    fields = {"program": one.program, "host": f"on {host}" if show_host else "", "text": one.text}
    return item(f"{host}/{one.program}", state, fields)
