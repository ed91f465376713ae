"""The nodes of the soak: they write down what they do, before and after, where no fault can change it."""
