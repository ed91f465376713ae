"""What a node says to its log."""

from __future__ import annotations

import logging


class Logs:
    """Writes to ``logger``, from anywhere."""

    logger: logging.Logger

    def log_debug(self, text: str) -> None:
        """Write to the node's log."""
        self.logger.debug("%s", text)

    def log_info(self, text: str) -> None:
        """Write to the node's log."""
        self.logger.info("%s", text)

    def log_warning(self, text: str) -> None:
        """Write to the node's log."""
        self.logger.warning("%s", text)

    def log_error(self, text: str) -> None:
        """Write to the node's log."""
        self.logger.error("%s", text)

    def log_critical(self, text: str) -> None:
        """Write to the node's log."""
        self.logger.critical("%s", text)
