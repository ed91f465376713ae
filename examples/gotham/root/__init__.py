"""The root of gotham: it watches the network and serves its page."""

from hivemind import RootController


class GothamController(RootController):
    """The root of gotham; override `additional_routes` and `base_context` to make it yours."""


if __name__ == "__main__":  # pragma: no cover
    GothamController.exec_(logging="verbose")
