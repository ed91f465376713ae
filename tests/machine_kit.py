"""A machine that boots a real systemd, whose power can be cut: namespaces of its own on this machine's files.

Its systemd sees no unit and writes no file of ours: their folders are covered. It ends, with all that it runs, with the
process that is its first.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from .waiting import eventually

NO_SYSTEMD = "no systemd that could be booted"
SYSTEMD = Path("/lib/systemd/systemd")
CGROUPS = Path("/sys/fs/cgroup")
TARGETS = ("sysinit", "basic", "shutdown", "network-online", "multi-user")  # empty ones, that units may name
BOOT = """
set -e
units=/lib/systemd/system
for folder in /run /etc/systemd/system /usr/local/lib/systemd/system $units $units-generators; do
    [ ! -d $folder ] || mount -t tmpfs tmpfs $folder
done
mount --bind -o ro /proc/sys /proc/sys
mount --bind -o ro /etc/machine-id /etc/machine-id
if [ -e {cgroups}/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 {cgroups}
else
    mount -t tmpfs tmpfs {cgroups} && mkdir {cgroups}/systemd
    mount -t cgroup -o none,name=systemd cgroup {cgroups}/systemd
fi
mkdir -p /run/systemd/system && cp {units}/* /run/systemd/system/
hostname machine
exec env -i container=other PATH="$PATH" {systemd} --system --unit=multi-user.target --show-status=0 --log-target=null
"""


def may_boot() -> bool:
    """Whether such a machine can be had here."""
    return SYSTEMD.exists() and shutil.which("nsenter") is not None and _group_of(CGROUPS).is_dir()


def _group_of(root: Path) -> Path:
    """Where a systemd looks for its groups: in the one tree of all, or in the one of that name."""
    return root if (root / "cgroup.controllers").exists() else root / "systemd"


class Machine:
    """One machine: ``units`` are the files of systemd that it has."""

    def __init__(self, folder: Path) -> None:
        self.units = folder / "units"
        self.units.mkdir(parents=True)
        for name in TARGETS:
            (self.units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\nDefaultDependencies=no\n")
        self._group = _group_of(CGROUPS) / f"hivemind-test-{os.getpid()}"
        self._unshare: subprocess.Popen[bytes] | None = None
        self.pid = 0  #: of its first process, as we see it; 0 while it is off

    def enable(self, unit: str) -> None:
        """Let it start with the machine."""
        wants = self.units / "multi-user.target"
        wants.write_text(wants.read_text() + f"Wants={unit}\n")

    def boot(self) -> None:
        """Switch it on; returns when its systemd answers."""
        self._group.mkdir(exist_ok=True)
        script = BOOT.format(cgroups=CGROUPS, units=self.units, systemd=SYSTEMD)
        alone = "exec unshare --fork --kill-child -p -m -n -u -i -C --mount-proc --propagation private"
        within = f'echo $$ > {self._group}/cgroup.procs; {alone} sh -c "$0"'
        self._unshare = subprocess.Popen(
            ["sh", "-c", within, script], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.pid = eventually(self._first)
        eventually(
            lambda: self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded", "starting")
        )

    def _first(self) -> int:
        assert self._unshare is not None
        assert self._unshare.poll() is None, "it does not boot"
        found = psutil.Process(self._unshare.pid).children()
        return next((each.pid for each in found if each.name() == "systemd"), 0)

    def run(self, *command: str, folder: Path = Path("/")) -> subprocess.CompletedProcess[str]:
        """Run a command there, in a folder."""
        inside = ["nsenter", "-t", str(self.pid), "-p", "-m", "-n", "-u", "-i", "-C", "--", "env", "-C", str(folder)]
        return subprocess.run([*inside, *command], capture_output=True, text=True, timeout=90, check=False)

    def show(self, unit: str, what: str) -> str:
        """What systemd knows of a unit."""
        return self.run("systemctl", "show", "--value", "-p", what, unit).stdout.strip()

    def lose_power(self) -> None:
        """Everything on it ends at once, and nobody is told."""
        if self._unshare is None:
            return
        os.kill(self.pid or self._unshare.pid, signal.SIGKILL)
        self._unshare.wait(30)
        self._unshare, self.pid = None, 0

    def close(self) -> None:
        """End it, and leave nothing behind."""
        self.lose_power()
        for folder, _, _ in os.walk(self._group, topdown=False):
            eventually(lambda folder=folder: _removed(Path(folder)))  # type: ignore[misc]


def _removed(group: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            group.rmdir()
        except OSError:
            return False
    return True


@contextlib.contextmanager
def machine_in(folder: Path) -> Iterator[Machine]:
    """A machine that is off; it is gone afterwards, whatever happened."""
    machine = Machine(folder)
    try:
        yield machine
    finally:
        machine.close()
