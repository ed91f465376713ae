"""The root: a node that watches the registry and serves its page. Any number of them may run, or none."""

from __future__ import annotations

import importlib
import logging as logging_
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from ..bus.bus import Bus
from ..data.registry import Registry
from ..errors import ConfigurationError, NodeLoadError
from ..node.inner import Inner
from ..node.life import Place
from ..node.loading import load_fault
from ..node.node import Node, settings_for
from ..node.runner import SUPERVISED, How, cannot_run, place_in, run
from ..settings import Settings, find_hive, load_settings
from .address import AddressFile, is_here_only, resolve
from .app import BaseRoute, Site
from .bodies import MAX_BODY
from .tokens import MAKE_KEY, Tokens
from .web import Web

NAME = "root"
ADDRESS_FILE = "root.json"

log = logging_.getLogger(__name__)

T = TypeVar("T")


class RootController:
    """Watches a hive and shows it on a web page. The hive does not need it: kill it, and nothing else notices.

    Derive from it in a hive's ``root/__init__.py`` to give the page routes and data of your own, and name the class
    in HIVE_CONTROLLER. A hook that raises is logged, and the page goes on without what it would have given.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """``settings`` are those of the hive to watch; None: of the hive around the class's file or this folder."""
        self.settings = settings or _settings_of(type(self))

    # -- to override

    def additional_routes(self) -> list[BaseRoute]:
        """Routes (of starlette) that are served before the built-in ones. Called once, on the loop."""
        return []

    def base_context(self) -> dict[str, Any]:
        """More names for the templates that TEMPLATE_DIRS holds. Called for every page."""
        return {}

    def allowed_hosts(self) -> list[str]:
        """Further host names under which the page may be asked for, such as that of a proxy. Called once."""
        return []

    def max_body(self) -> int:
        """How many bytes the body of a request may have. Called once."""
        return MAX_BODY

    def metadata(self) -> Mapping[str, str]:
        """What the registry shows beside the root, besides its ``url``."""
        return {}

    # -- running

    def run(self, logging: str | None = None) -> None:
        """Serve until SIGTERM or Ctrl-C. ``logging="verbose"`` shows DEBUG lines too.

        Raises SystemExit(1) when it cannot start.
        """
        code = self.serve(_how(self.settings, logging is not None))
        if code:
            raise SystemExit(code)

    @classmethod
    def exec_(cls, logging: str | None = None) -> Self:
        """Build the root of the hive one is in, run it, and return it when it has stopped."""
        root = cls()
        root.run(logging)
        return root

    def serve(self, how: How, complaint: str = "") -> int:
        """Serve until told to stop; return the exit code. ``complaint`` is logged first, as an error."""
        try:
            web = self._web()
        except (ConfigurationError, OSError) as error:
            return cannot_run(NAME, self.settings, how, error)
        try:
            return run(RootNode(self, web, complaint), self.settings, how)
        finally:
            web.close()

    def _web(self) -> Web:
        """The page on its port. Raises ConfigurationError where others could reach it and it would have no login."""
        constants = self.settings.constants
        tokens = Tokens(constants.HIVE_KEY, self.settings.name) if constants.HIVE_KEY else None
        address = resolve(constants.HIVE_DEFAULT_HOST)
        if tokens is None and not is_here_only(address):
            raise ConfigurationError(
                f"HIVE_DEFAULT_HOST = {constants.HIVE_DEFAULT_HOST!r} would show the page to other machines, "
                f"and without HIVE_KEY it has no login. {MAKE_KEY}"
            )
        file = AddressFile(self.settings.var / ADDRESS_FILE)
        return Web(constants.HIVE_DEFAULT_PORT, address, file, lambda: self._site(tokens))

    def _site(self, tokens: Tokens | None) -> Site:
        constants = self.settings.constants
        allowed: list[str] = _safely(self.allowed_hosts, [])
        return Site(
            hosts=frozenset({"127.0.0.1", "localhost", "[::1]", socket.gethostname(), *allowed}),
            static=constants.STATIC_DIRS,
            templates=constants.TEMPLATE_DIRS,
            routes=_safely(self.additional_routes, []),
            context=lambda: _safely(self.base_context, {}),
            max_body=_safely(self.max_body, MAX_BODY),
            tokens=tokens,
        )


class RootNode(Node):
    """What of a root is a node: its name, its place in the registry, its beat, its log."""

    def __init__(self, controller: RootController, web: Web, complaint: str = "") -> None:
        super().__init__(NAME)
        self._hm = RootInner(self, web, complaint)
        self._controller, self._web = controller, web
        self.attach(web)

    def metadata(self) -> Mapping[str, str]:
        """Where the page is, and what the controller adds."""
        return {"url": self._web.url, **_safely(self._controller.metadata, {})}


class RootInner(Inner):
    """A node that serves as soon as it has something to run on, registered or not."""

    def __init__(self, node: RootNode, web: Web, complaint: str) -> None:
        super().__init__(node)
        self._web, self._complaint = web, complaint

    def connected(self, bus: Bus, registry: Registry, settings: Settings) -> None:
        """Serve from now on."""
        super().connected(bus, registry, settings)
        if self._complaint:
            self.node.logger.error("%s", self._complaint)
        self._web.begin(self.node)

    def dress(self) -> None:
        """Without middleware that cannot be had: the page is there in any case."""
        try:
            super().dress()
        except ConfigurationError as error:
            self.node.logger.error("%s; the root goes on without middleware", error)


def load_controller(settings: Settings) -> type[RootController]:
    """The class that HIVE_CONTROLLER names; the plain one if it names none. Raises whatever its module raises."""
    target = settings.constants.HIVE_CONTROLLER
    if not target:
        return RootController
    if settings.hive is not None and str(settings.hive) not in sys.path:
        sys.path.insert(0, str(settings.hive))
    module_name, _, class_name = target.partition(":")
    module = importlib.import_module(module_name)
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, RootController)):
        raise NodeLoadError(target, f"has no class {class_name} derived from RootController", module.__file__)
    return kind


def run_root(settings: Settings, verbose: bool = False, of_settings: str = "") -> int:
    """Run the hive's own controller, or the plain one with a word in the log when that is broken; the exit code."""
    how, complaint = replace(_how(settings, verbose), fault=of_settings), ""
    try:
        controller = load_controller(settings)(settings)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a hive's own code: whatever it does, there is a page
        target = settings.constants.HIVE_CONTROLLER
        fault = error if isinstance(error, NodeLoadError) else load_fault(target, error)
        complaint = f"HIVE_CONTROLLER = {fault}; this is the plain root instead"
        controller = RootController(settings)
    return controller.serve(how, complaint)


def _how(settings: Settings, verbose: bool) -> How:
    is_supervised = SUPERVISED in os.environ
    place = Place(0, is_fixed=True) if is_supervised else place_in(settings, NAME)
    return How(place, verbose, is_supervised)


def _settings_of(kind: type[RootController]) -> Settings:
    if kind is RootController:  # this file is in no hive of the user's
        return load_settings(find_hive(Path.cwd(), None, os.environ))
    return settings_for(kind)


def _safely(hook: Callable[[], T], otherwise: T) -> T:
    """What a hive's own hook gives; ``otherwise`` if it raises, with a word in the log."""
    try:
        return hook()
    except Exception:
        log.exception("%s failed", getattr(hook, "__qualname__", hook))
        return otherwise
