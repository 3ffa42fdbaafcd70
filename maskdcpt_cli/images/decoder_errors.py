"""The errors of decoders, in words about the file."""

import re
import struct

from PIL import Image

CUT_SHORT = re.compile("truncated|incomplete|failed to read|end of file|only got", re.IGNORECASE)
# Not "decoder error -2", "unknown pixel mode", "invalid literal for int() with base 10: b'1'".
PLAIN = re.compile(r"(?!.*(error -|mode|literal|b'|<|_))[A-Za-z][ -~]{3,200}")


def why_unreadable(error: Exception) -> str:
    """Return what is wrong with a file by the exception of a decoder.

    The words of the decoder are added where they are about the file, not about its program.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip().rstrip(".")
    first = error.__cause__ or error  # Pillow raises others from it, with the same text
    if isinstance(error, Image.DecompressionBombError):
        return "it has more pixels than Pillow, which decodes this format, takes at most"
    if isinstance(first, EOFError) or CUT_SHORT.search(text):
        return "it is cut short"
    damaged = "its content is damaged, or of a kind that is not read"
    internal = isinstance(first, (LookupError, TypeError, AttributeError, struct.error))
    return damaged if internal or not PLAIN.fullmatch(text) else f"{damaged} ({text})"
