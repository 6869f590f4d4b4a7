"""Figures of a call from its samples (programs.py) and those of its line (network.py). Pure."""

import math

FULL_FPS = 30
FULL_WIDTH = 640
# After a change of the line: what is judged from then on.
NARROW_AFTER_S = 4
WIDE_AFTER_S = 2
SOUND_AFTER_S = 2
STEADY_AFTER_S = 10


def percentile(values, share):
    """By nearest rank; None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def at(samples, t):
    """The last sample until `t`, else the first one."""
    return next((sample for sample in reversed(samples) if sample["t"] <= t), samples[0])


def rate(samples, start, end):
    """Pictures a second between two times."""
    first, last = at(samples, start), at(samples, end)
    passed = last["t"] - first["t"]
    return (last["frames"] - first["frames"]) / passed if passed > 0 else None


def latency_p95(samples, start, end):
    return percentile([ms for sample in samples if start <= sample["t"] <= end for ms in sample["latencies"]], 0.95)


def freezes(samples, start, end):
    """Their number, and the longest in ms. A picture that has not come back by the end is one, from 500 ms on.

    The longest is as exact as a sample is short: what grew within one counts as one freeze.
    """
    inside = [sample for sample in samples if start <= sample["t"] <= end]
    if not inside:
        return None, None
    count = inside[-1]["freezes"] - inside[0]["freezes"]
    longest = max((b["frozen_ms"] - a["frozen_ms"] for a, b in zip(inside, inside[1:])), default=0)
    came = next((b["t"] for a, b in reversed(list(zip(inside, inside[1:]))) if b["frames"] > a["frames"]), inside[0]["t"])
    open_ms = (inside[-1]["t"] - came) * 1000
    return (count + 1, max(longest, open_ms)) if open_ms >= 500 else (count, longest)


def invented(samples, start, end):
    """Share of sound that was made up or is missing."""
    first, last = at(samples, start), at(samples, end)
    passed = last["t"] - first["t"]
    return min(1, max(0, last["invented_s"] - first["invented_s"]) / passed) if passed > 0 else None


def sound_p95(samples, start, end):
    return percentile([s["sound_ms"] for s in samples if start <= s["t"] <= end and s["sound_ms"] is not None], 0.95)


def full_after(samples, start, end):
    """Seconds from `start` until 2 s in which nine tenths of the pictures come, in their full size at their end."""
    for sample in samples:
        if start <= sample["t"] <= end - 2:
            then = at(samples, sample["t"] + 2)
            if rate(samples, sample["t"], sample["t"] + 2) >= 0.9 * FULL_FPS and then["width"] >= FULL_WIDTH:
                return sample["t"] - start
    return None


def offered(line, queue, start, end):
    """Bit/s that were offered to a queue, with its counters read every 100 ms; None when there is no such time."""
    first, last = at(line, start), at(line, end)
    passed = last["t"] - first["t"]
    grown = last["queues"][queue]["offered"] - first["queues"][queue]["offered"]
    return grown * 8 / passed if passed > 0 else None


def under_after(line, queue, capacity, start, end):
    """Seconds from `start` until no more is offered for a second than the line carries, 5 % for the measuring apart."""
    for sample in line:
        if start <= sample["t"] <= end - 1:
            if offered(line, queue, sample["t"], sample["t"] + 1) <= 1.05 * capacity:
                return sample["t"] - start
    return None


def used(line, queue, capacity, start, end):
    """Share of the line that left the queue."""
    first, last = at(line, start), at(line, end)
    passed = last["t"] - first["t"]
    grown = last["queues"][queue]["left"] - first["queues"][queue]["left"]
    return grown * 8 / passed / capacity if passed > 0 else None


def queue_p95(line, queue, capacity, start, end):
    """Queueing delay in ms: bytes in the queue by the rate at which they leave."""
    return percentile([s["queues"][queue]["backlog"] * 8000 / capacity for s in line if start <= s["t"] <= end], 0.95)


def first_picture(samples, connected_at):
    """Seconds from the connection to the first sample with a picture."""
    return next((max(0, sample["t"] - connected_at) for sample in samples if sample["frames"]), None)


def of_call(call, line, connected_at, changes):
    """All figures of a call. Lists have one value each for alice and bob, or for each queue.

    `call`: samples of both. `line`: those of the meter. `changes`: times and rates of the line, the first one from the
    start on. Without a change the whole call is the narrow phase.
    """
    end = min(samples[-1]["t"] for samples in call)
    drop = changes[1][0] if len(changes) > 1 else connected_at
    rise = changes[2][0] if len(changes) > 2 else end
    capacity = changes[1][1] if len(changes) > 1 else changes[0][1]
    each = lambda figure, *times: [figure(samples, *times) for samples in call]
    found = {
        "first_picture_s": each(first_picture, connected_at),
        "fps": each(rate, drop + NARROW_AFTER_S, rise),
        "latency_p95_ms": each(latency_p95, drop + NARROW_AFTER_S, rise),
        "freezes": [count for count, _ in each(freezes, drop, end)],
        "longest_ms": [longest for _, longest in each(freezes, drop, end)],
        "invented": each(invented, drop + SOUND_AFTER_S, end),
        "sound_p95_ms": each(sound_p95, drop + SOUND_AFTER_S, end),
    }
    if rise < end:
        found |= {
            "fps_after": each(rate, rise + WIDE_AFTER_S, end),
            "latency_after_p95_ms": each(latency_p95, rise + WIDE_AFTER_S, end),
            "full_after_s": each(full_after, rise, end),
        }
    if capacity:
        queues = range(len(line[0]["queues"]))
        found["queue_p95_ms"] = [queue_p95(line, q, capacity, drop + NARROW_AFTER_S, rise) for q in queues]
        found["used"] = [used(line, q, capacity, drop + STEADY_AFTER_S, rise) for q in queues]
        found["under_after_s"] = [under_after(line, q, capacity, drop, rise) for q in queues]
    return found


def of_set_ups(set_ups):
    """How many of them stand, and percentiles of their times in ms."""
    stand = [times for times in set_ups if "failed" not in times]
    found = {"set_ups": len(set_ups), "stand": len(stand)}
    for name in ("ice_ms", "dtls_ms"):
        found[f"{name[:-3]}_p50_ms"] = percentile([times[name] for times in stand], 0.5)
        found[f"{name[:-3]}_p95_ms"] = percentile([times[name] for times in stand], 0.95)
    found["failures"] = sorted({times["failed"] for times in set_ups if "failed" in times})
    return found
