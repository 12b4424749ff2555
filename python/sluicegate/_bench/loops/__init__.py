"""The loops that the contenders of a row run in, the same for all of them; one module for each kind of object."""
