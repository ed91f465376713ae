"""What becomes of the messages of a durable subscription: when their handler has ended, or has said so while it ran."""

from __future__ import annotations

import logging
import traceback

from ..burst import Burst
from ..bus.delivery import Death, Delivery
from ..errors import Reject, Retry, in_words
from ..message import Malformed
from .settling import Said, Verdict
from .signature import InvalidPayload

NOTHING = Said.NOTHING
LAST_WORDS = 8192  #: characters of a traceback that a dead letter keeps


class Results:
    """Tells the owner of each delivery, as long as nobody took over from that, and counts. ``handler`` is what the
    function is called in the log. All methods are for the loop.
    """

    def __init__(self, handler: str, logger: logging.Logger) -> None:
        self.handled = self.failed = self.invalid = 0
        self.error = ""
        self._handler, self._logger = handler, logger
        self._failures, self._meant = Burst(), Burst()

    def returned(self, delivery: Delivery) -> None:
        """Its handler has returned: that settles it, if nothing was said before."""
        said = NOTHING if delivery.verdict is None else delivery.verdict.said
        if said is NOTHING:
            self._acknowledge(delivery)
        elif said is Said.NACK:
            self._put_back(delivery)

    def raised(self, delivery: Delivery, error: BaseException) -> None:
        """Its handler has raised this, or it never came so far."""
        said: Said = NOTHING if delivery.verdict is None else delivery.verdict.said
        is_meant = _is_meant(error)
        self.error = self.error if is_meant else in_words(error)
        burst = self._meant if is_meant else self._failures
        if (held := burst.first()) is not None:
            after = f", after {said}" if said else ""
            how = f"raised {type(error).__name__}" if is_meant else "failed"
            what = f"{self._handler} {how} on a message of {delivery.topic}, try {delivery.number}{after}"
            _tell(self._logger, what + burst.more(held), error, burst)
        if said is Said.NACK:
            self.failed += not is_meant
            self._put_back(delivery)
        elif said is NOTHING:
            self._try_again(delivery, error)

    def decided(self, delivery: Delivery, verdict: Verdict) -> None:
        """Its handler, which runs on, has said what is to become of it."""
        if verdict.said is Said.ACK:
            self._acknowledge(delivery)
        elif verdict.said is Said.REJECT:  # it counts as dead, and is no failure
            _fail(delivery, Death(verdict.reason), is_final=True)

    def _acknowledge(self, delivery: Delivery) -> None:
        self.handled += 1
        if not delivery.owner.is_taken:
            delivery.owner.handled(delivery)

    def _put_back(self, delivery: Delivery) -> None:
        _fail(delivery, Death("its handler put it back, with nack()"), delivery.verdict.delay)

    def _try_again(self, delivery: Delivery, error: BaseException) -> None:
        does_not_fit = isinstance(error, InvalidPayload | Malformed)
        if does_not_fit:
            self.invalid += 1
        elif not _is_meant(error):  # those are counted as tried again, or as dead
            self.failed += 1
        delay = error.delay if isinstance(error, Retry) else None
        _fail(delivery, _death(error), delay, is_final=does_not_fit or isinstance(error, Reject))


def _fail(delivery: Delivery, death: Death, delay: float | None = None, *, is_final: bool = False) -> None:
    if not delivery.owner.is_taken:
        delivery.owner.failed(delivery, death, delay, is_final=is_final)


def _is_meant(error: BaseException) -> bool:
    """Whether a handler raised it to say what is to become of its message."""
    return isinstance(error, Retry | Reject)


def _tell(logger: logging.Logger, what: str, error: BaseException, burst: Burst) -> None:
    """Log what became of a message: what the handler meant, and what never came to it, in a line."""
    if _is_meant(error):
        _, _, why = in_words(error).partition(": ")
        logger.info("%s", f"{what}: {why}" if why else what, extra=burst.extra)
    elif isinstance(error, InvalidPayload | Malformed):
        logger.error("%s: it does not fit: %s", what, in_words(error), extra=burst.extra)
    else:
        logger.error("%s", what, exc_info=error, extra=burst.extra)


def _death(error: BaseException) -> Death:
    if isinstance(error, Reject):
        return Death(str(error))
    return Death(in_words(error), "".join(traceback.format_exception(error))[-LAST_WORDS:])
