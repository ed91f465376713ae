"""Where hived keeps its files: one place that names them all.

=====================  ===============================================================================
``supervisord.conf``   what render.py wrote last
``supervisord.sock``   its RPC socket, mode 0700 (in the runtime folder, since socket paths are short)
``supervisord.pid``    its pid, as supervisord itself writes it
``hived.lock``         held while someone starts, reloads or stops this hive
``enabled.json``       the nodes that ``nodes/__init__.py`` named when it last could be read
``scale.json``         replicas that ``hm scale`` asked for
``stopped.json``       what ``hm stop`` stopped
``wishes.json``        what somebody asked of programs in the last minutes
``settings.json``      the settings that were applied last
``releases/``          the files with which all was well, see releases.py
``run/``               pidfiles, environments, what hived knows; of no use after a reboot
``log/``               supervisord's log, and what programs print before they open their own
=====================  ===============================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import SupervisorError
from ..last_settings import LAST_SETTINGS
from ..settings import Settings
from ..whole import private_folder
from .stood import FILE as STOOD


@dataclass(frozen=True, slots=True)
class HivePaths:
    """The files of one hive's hived, below its ``var`` folder and its folder for sockets."""

    hive: Path
    var: Path
    runtime: Path

    @classmethod
    def of(cls, settings: Settings) -> HivePaths:
        """The paths of the hive that ``settings`` are of."""
        return cls(settings.hive or settings.var, settings.var, settings.runtime)

    @property
    def conf(self) -> Path:
        """The rendered configuration."""
        return self.var / "supervisord.conf"

    @property
    def socket(self) -> Path:
        """Supervisord's RPC socket."""
        return self.runtime / "supervisord.sock"

    @property
    def pidfile(self) -> Path:
        """Supervisord's pid, by its own hand."""
        return self.var / "supervisord.pid"

    @property
    def supervisord(self) -> Path:
        """Which process supervisord is: with start time and boot id, so that a recycled pid is not taken for it."""
        return self.run / "supervisord.identity"

    @property
    def listener(self) -> Path:
        """Which process hived's listener is, in the same way."""
        return self.run / "hived.identity"

    @property
    def lock(self) -> Path:
        """The lock of whoever changes what runs."""
        return self.var / "hived.lock"

    @property
    def enabled(self) -> Path:
        """The last known list of enabled nodes."""
        return self.var / "enabled.json"

    @property
    def scale(self) -> Path:
        """Replicas by node, as ``hm scale`` left them."""
        return self.var / "scale.json"

    @property
    def stopped(self) -> Path:
        """Programs that ``hm stop`` stopped."""
        return self.var / "stopped.json"

    @property
    def wishes(self) -> Path:
        """What somebody asked of programs lately."""
        return self.var / "wishes.json"

    @property
    def settings(self) -> Path:
        """The settings that were applied last, mode 0600."""
        return self.var / LAST_SETTINGS

    @property
    def releases(self) -> Path:
        """The last releases, mode 0700."""
        return self.var / "releases"

    @property
    def draft(self) -> Path:
        """What was applied last and has not proven yet that all is well with it."""
        return self.releases / "draft"

    @property
    def run(self) -> Path:
        """Files that mean nothing after a reboot."""
        return self.var / "run"

    @property
    def log(self) -> Path:
        """Logs of supervisord and early output of programs."""
        return self.var / "log"

    @property
    def stopping(self) -> Path:
        """Exists while a stop of the whole hive is asked for: nobody revives anything."""
        return self.run / "stopping"

    @property
    def selection(self) -> Path:
        """What ``hm dev -n``, ``--no-root`` and ``--root-only`` chose."""
        return self.run / "selection.json"

    @property
    def foreground(self) -> Path:
        """Which process watches this hive in the foreground, if one does."""
        return self.run / "foreground.pid"

    @property
    def plan(self) -> Path:
        """What was applied last: programs and problems."""
        return self.run / "plan.json"

    @property
    def known(self) -> Path:
        """What the listener knows: revivals, reasons, standbys."""
        return self.run / "hived.json"

    @property
    def stood(self) -> Path:
        """Which of hived and supervisord stood still last, and was killed for it."""
        return self.run / STOOD

    @property
    def rolling(self) -> Path:
        """What is rolled, while it is."""
        return self.run / "rolling.json"

    @property
    def undone(self) -> Path:
        """What the last roll that was cut off has left undone."""
        return self.run / "undone.json"

    @property
    def root(self) -> Path:
        """Where the root says its page is."""
        return self.var / "root.json"

    def program_pid(self, program: str) -> Path:
        """The keeper's pidfile of one program."""
        return self.run / f"{program}.pid"

    def program_lives(self, program: str) -> Path:
        """What the keeper knows of the lives of one program."""
        return self.run / f"{program}.lives"

    def program_env(self, program: str) -> Path:
        """The environment of one program, mode 0600."""
        return self.run / f"{program}.env"

    @property
    def supervisord_log(self) -> Path:
        """What supervisord itself logs."""
        return self.log / "supervisord.log"

    def program_log(self, program: str) -> Path:
        """What one program prints before it has opened its own log."""
        return self.log / f"{program}.out"

    def make(self) -> None:
        """Make the folders, readable by their owner only."""
        for folder in (self.var, self.run, self.log):
            private_folder(folder)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What the system refuses inside is a SupervisorError with path and reason: no room, no right, no folder."""
        try:
            yield
        except OSError as error:
            where = error.filename if isinstance(error.filename, str | Path) else self.var
            raise SupervisorError(f"hived cannot write its files: {where}: {error.strerror or error}") from error
