"""Settings of the memory allocators, for programs that make and drop the same large arrays again and again."""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let glibc reuse the arrays of one batch for the next; by default each costs its page faults again."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)


def use_huge_pages() -> None:
    """Let PyTorch ask for huge pages for large CPU tensors; has an effect only before its first tensor."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
