"""Settings of the whole process, in one place; nothing is changed before somebody asks for it."""

import ctypes
import functools
import platform

import torch

# From malloc.h. Setting the first also stops glibc from adapting it.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
LARGEST_THRESHOLD = 32 << 20  # what glibc allows on 64 bits
NEVER = 2**31 - 1


@functools.cache
def keep_memory() -> bool:
    """Keeps freed memory for the next step instead of giving it back to the system.

    glibc maps every block of more than some 100 KB anew, and the system clears its pages on first touch: a step of a
    small CNN spends up to half of its time in that. The resident size hardly grows, since each step needs the same
    blocks. False where the C library is another one, and nothing is changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD) and library.mallopt(M_TRIM_THRESHOLD, NEVER))


@functools.cache
def spare_the_compiler() -> None:
    """Nothing here is compiled, but an optimizer's first step imports torch's whole compiler: two seconds and 200 MB.

    Torch marks these methods as not to be compiled, and asks its compiler to do so when they are first called. Its own
    note of the answer is made here: as it would be, the method itself.
    """
    for method in vars(torch.optim.Optimizer).values():
        if plain := getattr(method, "__wrapped__", None):
            setattr(plain, "__dynamo_disable", plain)
