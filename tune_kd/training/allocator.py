"""Keeps freed memory for the next step instead of giving it back to the system.

glibc maps every block of more than some 100 KB anew, and the system clears its pages on first touch: a step of a small
CNN spends up to half of its time in that. The resident size hardly grows, since each step needs the same blocks.
"""

import ctypes
import platform

# From malloc.h. Setting the first also stops glibc from adapting it.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
LARGEST_THRESHOLD = 32 << 20  # what glibc allows on 64 bits
NEVER = 2**31 - 1


def keep_memory() -> bool:
    """For this whole process; False where the C library is another one, and nothing is changed."""
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD) and library.mallopt(M_TRIM_THRESHOLD, NEVER))
