"""Whether the hive's own Redis stands still, or cannot be reached any more. Pure: it is told what was seen.

Who is busy is never judged: a Redis that loads its data, runs a long script, forks, or rewrites its file uses the
processor or waits for its disk, and one that has nothing to do, or is paused by CLIENT PAUSE, wakes up ten times a
second. As in stillness.py only time counts in which whoever looks was awake, and whom a debugger holds is left alone.
"""

from __future__ import annotations

from ..identity import ProcessIdentity
from ..process_table import HELD, STOPPED, WAITING, Doing

STANDS = 20.0  #: seconds for which a signal has stopped it, after which it is killed; a drill freezes it for eight
MUTE = 60.0  #: seconds in which it has waited for one and the same thing, after which it is asked, and killed
GONE = 3.0  #: seconds for which its socket has been gone, after which it is started again
UNSEEN = 30.0  #: the same of a process whose socket was never seen: it may be starting
AGAIN = 60.0  #: seconds until it is asked to end once more, where it has refused: its disk may be full
Socket = tuple[int, int]  #: the device and the inode of what lies at the socket's path


class Progress:
    """Judges one process after the other. ``stood`` and ``mute`` are seconds."""

    def __init__(self) -> None:
        self.stood, self.mute = 0.0, 0.0
        self._before: tuple[float, int | None] | None = None  # processor used, and waits begun

    @property
    def is_stopped(self) -> bool:
        """Whether a signal has stopped it for too long."""
        return self.stood >= STANDS

    @property
    def is_mute(self) -> bool:
        """Whether it has shown no work for so long that one has to ask whether it answers."""
        return self.mute >= MUTE

    def heard(self) -> None:
        """It is at work, or answers, or is another."""
        self.stood, self.mute, self._before = 0.0, 0.0, None

    def look(self, seconds: float, doing: Doing | None, waits: int | None) -> None:
        """So many ``seconds`` more went by, and this is what it does now (None: it has ended); ``waits``: how often it
        has begun to wait for something (None: the system does not say, and then it may be at work).
        """
        if doing is None or doing.state == HELD:
            self.heard()
            return
        has_moved = self._before != (doing.used, waits)
        self._before = doing.used, waits
        self.stood = self.stood + seconds if doing.state == STOPPED and not has_moved else 0.0
        self.mute = self.mute + seconds if doing.state == WAITING and not has_moved and waits is not None else 0.0


class Entrance:
    """Judges whether the socket at which a process listens is still where it is looked for."""

    def __init__(self) -> None:
        self._process: ProcessIdentity | None = None
        self._socket: Socket | None = None
        self._gone, self._asked = 0.0, 0  # seconds for which it has been gone, and how often it was time

    def knows(self, process: ProcessIdentity) -> bool:
        """Whether it is known which socket that process listens at."""
        return self._process == process and self._socket is not None

    def opened(self, process: ProcessIdentity, socket: Socket) -> None:
        """That process answers at this socket."""
        self._process, self._socket, self._gone, self._asked = process, socket, 0.0, 0

    def look(self, seconds: float, process: ProcessIdentity, found: Socket | None) -> bool:
        """So many ``seconds`` more went by, and ``found`` lies at the path now. Whether it is time to end the process,
        since nobody gets in any more: that is so once, and again whenever AGAIN seconds have changed nothing.
        """
        if process != self._process:
            self._process, self._socket, self._gone, self._asked = process, None, 0.0, 0
        is_there = found is not None if self._socket is None else found == self._socket
        if is_there:
            self._gone, self._asked = 0.0, 0
            return False
        self._gone += seconds
        is_due = self._gone >= (UNSEEN if self._socket is None else GONE) + self._asked * AGAIN
        self._asked += is_due
        return is_due
