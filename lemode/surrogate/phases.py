"""How long each part of a fit took, and how much memory the process had needed by its end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping

__all__ = ["peak_memory", "spend", "together"]

Phases = dict[str, dict[str, float]]


def spend(phases: Phases, name: str, seconds: float) -> None:
    """Add seconds to a phase, and note the `peak_memory` of now.

    Examples
    --------
    >>> phases = {}
    >>> for seconds in (0.5, 0.25):
    ...     spend(phases, "data", seconds)
    >>> phases["data"]["seconds"], phases["data"]["peak_memory"] > 1e6
    (0.75, True)
    """
    before = phases.get(name, {}).get("seconds", 0.0)  # a file may say anything
    phases[name] = {"seconds": before + seconds, "peak_memory": peak_memory()}


def together(before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]) -> Phases:
    """The phases of two fits, one after the other: seconds add up, of the memory the larger one counts.

    Examples
    --------
    >>> together({"a": {"seconds": 1.0, "peak_memory": 5}}, {"a": {"seconds": 2.0, "peak_memory": 3}})
    {'a': {'seconds': 3.0, 'peak_memory': 5}}
    """
    found = {name: dict(phase) for name, phase in before.items()}
    for name, phase in after.items():
        known = found.get(name, {})
        found[name] = {
            "seconds": known.get("seconds", 0.0) + phase.get("seconds", 0.0),
            "peak_memory": max(known.get("peak_memory", 0), phase.get("peak_memory", 0)),
        }
    return found


def peak_memory() -> int:
    """The most bytes that this process has had in memory since it began, whatever for; 0 where the system does not say.

    The system counts it: a phase whose number is that of the phase before it needed no more than was there already.

    Examples
    --------
    >>> peak_memory() > 10e6
    True
    """
    # not getrusage where it can be helped: its number begins with that of the parent
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        return next((1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
