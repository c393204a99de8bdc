"""How much memory this process takes."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")
_UNIT = 1 if sys.platform == "darwin" else 1024


def resident_bytes() -> int:
    """Bytes of memory that are resident now; where that can't be told (macOS), the most there ever were."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
