"""
Batman node for gotham
"""

from hivemind import _Node


class Batman(_Node):
    """
    Batman Implementation
    """

    def services(self) -> None:
        """
        Register any default services

        :return: None
        """
        return

    def subscriptions(self) -> None:
        """
        Stay vigilant caped crusader
        """
        self._bat_signal_subscription = self.add_subscription(
            name="bat-signal-*",
            function=self._go_save_the_day,
        )

    def _go_save_the_day(self, payload: object) -> int:
        """
        Here, we can save the day.

        :param payload: The message data sent from a service who's name matches
            the subscription name pattern. In this case, anything
            matching "bat-signal-*"
        """
        if not isinstance(payload, str):
            self.log_warning(f"Unknown payload type: {type(payload)}")
            return 0

        if payload == "Batman! We need help!":
            print("Batman has saved the day!")  # To print to our stdout
        else:
            print("Oh no! Batman doesn't know what to do!")

        return 0


if __name__ == "__main__":  # pragma: no cover
    # An initialization command.
    Batman.exec_(name="batman", logging="verbose")
