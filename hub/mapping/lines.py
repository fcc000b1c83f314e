"""Bytes become physical lines of text, in bounded memory, however they are cut into pieces."""

import codecs
import io

from hub.errors import InvalidFile

PIECE_BYTES = 1 << 16
_MARKS = [  # UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
]


class Lines:
    """Decodes what is fed, piece by piece as it is asked for. What can't be decoded becomes lone surrogates (`spoilt`)."""

    def __init__(self, declared: str | None, encoding: str | None) -> None:
        self.declared, self.encoding = declared, encoding
        self.ended = False
        self.lines: list[str] = []  # whole lines, ends included
        self.plain = True  # of `lines` and the tail: ASCII without NUL
        self.held = 0  # bytes of `lines` and of the tail after them
        self.mark = 0  # bytes of the byte order mark, when it was read here
        self._raw = bytearray()
        self._tail = ""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._errors = "surrogateescape"
        self._finished = False

    @property
    def buffered(self) -> int:
        return self.held + len(self._raw)

    def feed(self, data: bytes) -> None:
        self._raw += data

    def more(self) -> bool:
        """Decodes another piece into `lines`; false: there is nothing left to decode. Lines may or may not have come of it.

        Raises:
            InvalidFile: the bytes can't be text as the mapping says.
        """
        if self._decoder is None and not self._begin():
            return False
        if not self._raw and (self._finished or not self.ended):
            return False
        piece = bytes(self._raw[:PIECE_BYTES])
        del self._raw[:PIECE_BYTES]
        self.held += len(piece)
        final = not piece  # a step of its own: what was whole before a spoilt end is given first
        self._finished = final
        self._split(self._decode(piece, final), final)
        return True

    def taken(self, lines: int, size: int) -> None:
        """The first `lines` lines, `size` bytes, have been used."""
        del self.lines[:lines]
        self.held -= size

    def size(self, lines: list[str]) -> int:
        """Bytes of these lines in the file."""
        if self.plain and self._errors != "surrogatepass":
            return sum(map(len, lines))
        return sum(len(line.encode(self.encoding or "utf-8", self._errors)) for line in lines)

    def _begin(self) -> bool:
        """Settles the encoding, by the byte order mark or the mapping; false: too few bytes to know."""
        if self.encoding is None:
            if len(self._raw) < 4 and not self.ended:
                return False
            self._settle()
        name = self.encoding or "utf-8"
        if name.startswith("utf-16"):
            self._errors = "surrogatepass"
        self._decoder = codecs.getincrementaldecoder(name)(self._errors)
        return True

    def _settle(self) -> None:
        marked = next(((mark, name) for mark, name in _MARKS if self._raw.startswith(mark)), None)
        declared = self.declared
        if marked is None:
            if declared == "utf-16":
                raise InvalidFile("The file has no byte order mark, so the mapping must say utf-16-le or utf-16-be.")
            self.encoding = declared or "utf-8"
            return
        mark, name = marked
        if name == "utf-32" or (declared is not None and not name.startswith(declared)):
            said = f"the mapping says {declared}" if declared is not None else "the hub does not read that"
            raise InvalidFile(f"The file begins with the byte order mark of {name}; {said}.")
        self.encoding, self.mark = name, len(mark)
        del self._raw[: len(mark)]

    def _decode(self, piece: bytes, final: bool) -> str:
        if self._decoder is None:
            raise RuntimeError
        try:
            return self._decoder.decode(piece, final)
        except UnicodeDecodeError:
            raise InvalidFile(f"The file ends in the middle of a character of {self.encoding}.") from None

    def _split(self, new: str, final: bool) -> None:
        text = self._tail + new
        self._tail = ""
        self.plain = (self.plain or not self.lines) and text.isascii() and "\0" not in text
        # newline="": lines end at \n, \r and \r\n, which are kept; nothing else ends one.
        lines = io.StringIO(text, newline="").readlines()
        # A \r at the end of a piece may be half of \r\n.
        if lines and not final and not lines[-1].endswith("\n"):
            self._tail = lines.pop()
        self.lines += lines
