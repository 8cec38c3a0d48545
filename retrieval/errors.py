"""What can go wrong in this package.

RetrievalError
├── ModelError        a model that is not there, not right, or cannot run here
├── EncodingError     a text that the model gave no usable vector for
├── CollectionError   a collection that is not there, damaged, or of another model
└── DataError         an input file that cannot be read; the message names the file, the line and the remedy
"""


class RetrievalError(Exception):
    """The root; every message says what to do."""


class ModelError(RetrievalError):
    """A model that is not there, not right, or cannot run here."""


class EncodingError(RetrievalError):
    """A text that the model gave no usable vector for."""


class CollectionError(RetrievalError):
    """A collection that is not there, damaged, or of another model."""


class DataError(RetrievalError):
    """An input file that cannot be read as what it should be."""
