"""
BatSignal node for gotham
"""

from hivemind import Service, _Node


class BatSignal(_Node):
    """
    BatSignal Implementation
    """

    def services(self) -> None:
        """
        Add the bat signal service!
        """
        self._bat_signal_service = self.add_service(
            name="bat-signal-main",
            function=self._bat_signal,
        )

    def _bat_signal(self, service: Service) -> int:
        """
        Run the service! By default, this is run on a
        loop forever!

        :param service: The service instance we created above
        :return: int (0 means continue, otherwise abort)
        """
        # Send a signal to the big man himself. (JSON compliant payload)
        service.send("Batman! We need help!")

        # As lowly cityfolk, we can do nothing but wait until
        # the next crisis.
        service.sleep_for(5.0)
        return 0

    def subscriptions(self) -> None:
        """
        Register any default subscriptions

        :return: None
        """
        return


if __name__ == "__main__":  # pragma: no cover
    # An initialization command.
    BatSignal.exec_(name="batsignal", logging="verbose")
