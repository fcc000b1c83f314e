"""A value that doesn't fit."""


class Unfit(ValueError):
    """The reason, which never quotes the value: reports of refused rows are kept in the clear."""
