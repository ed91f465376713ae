"""A Redis server for tests."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..bus.embedded import Embedded, find_server
from ..errors import ConfigurationError


class TestServer:
    """A Redis server for tests: the embedded one in a folder of its own, else, or if it shall be so, fakeredis behind a
    socket.
    """

    __test__ = False  # for pytest: this is no test class

    def __init__(self, *, is_fake: bool = False) -> None:
        self._is_fake = is_fake
        self._folder = tempfile.TemporaryDirectory(prefix="hm-")
        self._embedded: Embedded | None = None
        self._fake: Any = None
        self.url = ""

    def __enter__(self) -> Self:
        folder = Path(self._folder.name)
        if not self._is_fake and find_server({}) is not None:
            self._embedded = Embedded(folder=folder, socket=folder / "redis.sock")
            self.url = self._embedded.ensure()
        else:
            self.url = self._start_fake()
        return self

    def _start_fake(self) -> str:
        try:
            from fakeredis import TcpFakeServer  # noqa: PLC0415 - an extra, needed only where no server is installed
        except ImportError:
            raise ConfigurationError("no Redis server for tests: pip install 'hivemind-net[server]'") from None
        self._fake = TcpFakeServer(("127.0.0.1", 0), server_type="redis")
        threading.Thread(target=self._fake.serve_forever, daemon=True).start()
        return f"redis://127.0.0.1:{self._fake.server_address[1]}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._embedded is not None:
            self._embedded.stop()
        if self._fake is not None:
            self._fake.shutdown()
            self._fake.server_close()
        self._folder.cleanup()
