"""The loop in which the MLflow UI runs.

Asked for a hundred runs, MLflow makes 25,000 objects that stay until it has answered, and Python looks through them for
cycles again and again.
"""

from __future__ import annotations

import asyncio
import gc

# How many objects are made until Python looks for cycles, and how many looks until one among the older; its own are
# 700, 10 and 10. What that costs is in experiments/ui.
THRESHOLDS = (50_000, 20, 100)


def event_loop() -> asyncio.AbstractEventLoop:
    """What uvicorn's option --loop names: called in each process of the server, before it serves."""
    gc.set_threshold(*THRESHOLDS)
    return asyncio.new_event_loop()
