"""How many cores there are for this process."""

import os


def usable_cores() -> int:
    """Cores this process may run on, which a scheduler may have cut; a limit on time alone is not seen."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
