"""Where every random number of a search comes from."""

import hashlib


def derive(*parts: object) -> int:
    """A seed that depends on all of `parts` and nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")
