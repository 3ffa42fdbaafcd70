"""Addresses of shards that are elsewhere than on disk."""

import re
from urllib.parse import urlsplit

SCHEMES = ("https", "http", "s3", "gs", "hf")


def is_address(text: str) -> bool:
    """Return whether a text is an address, and no path; a letter and a colon begin a path."""
    return bool(re.match(r"\w\w+:", text))


def check_address(text: str) -> str:
    """Return the address of an index of shards; raise ValueError for another one."""
    at = urlsplit(text)
    if at.scheme not in SCHEMES:
        valid = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"'{text}' is not read: an address begins with {valid}")
    if not at.netloc or "@" in at.netloc:
        raise ValueError("an address has a host, without user name and password")
    if not at.path.endswith("/index.json"):
        raise ValueError(f"'{text}' must be the address of an index.json")
    return text
