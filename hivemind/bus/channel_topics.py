"""From a channel back to its topic, for every message that comes."""

from __future__ import annotations

from ..topics import Names

MOST_TOPICS = 100_000  #: names of topics that are remembered decoded


class ChannelTopics(dict[bytes, str]):
    """The topic of each channel, made when it is first asked for."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, channel: bytes) -> str:
        if len(self) > MOST_TOPICS:
            self.clear()
        topic = self[channel] = self._names.topic(channel.decode(errors="replace"))
        return topic
