"""Python's garbage collector, asked to look seldom.

A batch, or a group of requests, makes thousands of small objects that their reference
counts free anyway. Looking at all of them again and again took a quarter of a worker's
time and a tenth of a gateway's.
"""

import gc

#: New objects before the collector looks; Python's own number is 700.
GC_THRESHOLD = 200_000


def relax_gc() -> None:
    """What is there now stays for good; from now on look every so many objects."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
