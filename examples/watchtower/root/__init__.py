"""The root of watchtower: it watches the network and serves its page."""

from hivemind import RootController


class WatchtowerController(RootController):
    """The root of watchtower; override `additional_routes` and `base_context` to make it yours."""


if __name__ == "__main__":  # pragma: no cover
    WatchtowerController.exec_(logging="verbose")
