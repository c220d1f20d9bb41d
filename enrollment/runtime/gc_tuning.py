"""Garbage collector tuning: fewer collections.

A batch or a group of requests creates thousands of small objects, which are freed by reference
counting anyway. Scanning them again and again took a quarter of a worker's time and a tenth of a
gateway's.
"""

import gc

#: New objects after which the collector runs; the default of Python is 700.
GC_THRESHOLD = 200_000


def relax_gc() -> None:
    """Exempts all existing objects from collection, and sets the threshold for new ones."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
