"""What is wrong in a user's data."""


class DataError(ValueError):
    """Something wrong in a user's data; the message names the file, the frame, the key and what to do."""
