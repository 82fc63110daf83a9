"""How sure a model may say that it is: its temperature, and sets of classes that hold the true one as stated."""
