"""What the header and the structure of an encoded image say, one module per format.

Each has `read(data) -> Header`. It raises UndecodableImage; struct.error and IndexError say that the data is cut short.
"""
