"""The root: watches the registry and shows it on a web page. The network never needs it."""
