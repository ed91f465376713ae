"""What a fault is, and which there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from ..identity import ProcessIdentity
from .crew import Crew
from .healer import Healer
from .limits import Limits, promised
from .site import Site


class Scene:
    """Where a fault acts: the hive, the probes in it, and who takes the fault back if we cannot."""

    def __init__(self, site: Site, crew: Crew, healer: Healer) -> None:
        self.site, self.crew, self.healer = site, crew, healer
        self.promised = promised(site.settings.constants)


class Fault(ABC):
    """Something that breaks. ``name`` is a row of ``limits.promised``; after ``lasts`` seconds it is taken back (0: it
    heals by itself). It has to happen ``within`` seconds; ``since`` is when it did, by the monotonic clock, where that
    is not when it was injected. ``hit`` are the instances that may get another incarnation, ``harmed`` the probes'
    lives that may have handled what they could not acknowledge (all, if ``harms_all``).
    """

    name = ""
    lasts = 0.0
    within = 2.0
    harms_all = False

    def __init__(self, scene: Scene, target: str) -> None:
        self.scene, self.site, self.target = scene, scene.site, target
        self.hit: set[str] = set()
        self.harmed: list[str] = []
        self.since: float | None = None

    @property
    def limits(self) -> Limits:
        """What is promised."""
        return self.scene.promised[self.name]

    async def prepare(self) -> None:  # noqa: B027  # some need nothing
        """Find out what will be hit. Raises SupervisorError, where that cannot be."""

    @abstractmethod
    async def inject(self) -> None:
        """Do it."""

    @abstractmethod
    async def happened(self) -> bool:
        """Whether the fault is really there, or was."""

    @abstractmethod
    async def noticed(self) -> bool:
        """Whether somebody but us has noticed."""

    async def heal(self) -> None:  # noqa: B027  # some heal by themselves
        """Take it back. May be called twice."""

    async def is_over(self) -> bool:
        """Whether the cause is gone."""
        return True

    async def is_back(self) -> bool:
        """Whether those who were hit are there again."""
        return True


class Signalled(Fault):
    """A fault that is a signal to some processes."""

    def __init__(self, scene: Scene, target: str) -> None:
        super().__init__(scene, target)
        self.victims: dict[str, ProcessIdentity] = {}
        self.before: dict[str, int] = {}

    async def happened(self) -> bool:
        """Whether each of them has ended."""
        return bool(self.victims) and not any(one.is_alive() for one in self.victims.values())

    def remember(self, names: Mapping[str, ProcessIdentity]) -> None:
        """These are hit."""
        self.victims = dict(names)
        self.hit = set(names)
        self.before = {name: one.incarnation for name in names if (one := self.site.seen.get(name)) is not None}
        self.site.ended -= self.hit

    def is_known(self) -> bool:
        """Whether somebody has said that one of them ended, or the registry has lost or replaced it."""
        return any(
            name in self.site.ended
            or (one := self.site.seen.get(name)) is None
            or one.is_lost
            or one.incarnation > self.before[name]
            for name in self.before
        )

    async def is_back(self) -> bool:
        """Whether each has a newer incarnation that runs."""
        lives = self.site.lives(list(self.before))
        return all(lives.get(name, 0) > before for name, before in self.before.items())


MakeFault = Callable[[Scene, str], Fault]
