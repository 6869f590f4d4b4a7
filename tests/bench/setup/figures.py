"""Times of set-ups, and their table in Markdown. Pure.

Peers are `[alice, bob]`: alice calls, bob answers. `R` is the round trip between them, `S` the one of signalling: caller,
broker, callee, broker, caller. Here both are the same.
"""

import statistics

from wire import first

# The least time after the answer to a picture at alice and at bob, in ms. Without a path: the answer's way to the caller,
# one round trip for ICE and two for DTLS, with the picture in the last half; bob's leaves half a round trip sooner. With
# a path that is there: the picture's own way; alice's leaves when the answer has come.
LIMITS = {
    "without": lambda round_ms: (round_ms / 2 + 3 * round_ms, round_ms / 2 + 2.5 * round_ms),
    "early": lambda round_ms: (round_ms / 2, round_ms / 2 + round_ms / 2),
}

# By packets on the line, then as the programs say.
COLUMNS = ["keys", "picture", "connected", "shown"]


def of_call(seen, events, answered_at):
    """ms after the answer, `[alice, bob]` each, None for what was not seen.

    `seen`: what passed at each peer; `events`: Unix seconds of each peer's events, by name.
    """
    since = lambda t: None if t is None else (t - answered_at) * 1000
    return {
        "keys": [since(first(of_peer, "in", "keys")) for of_peer in seen],
        "picture": [since(first(of_peer, "in", "picture", answered_at)) for of_peer in seen],
        "connected": [since(of_peer.get("connected")) for of_peer in events],
        "shown": [since(of_peer.get("first_frame")) for of_peer in events],
    }


def cell(calls, name):
    """Median and most of both peers."""
    parts = []
    for peer in (0, 1):
        values = [call[name][peer] for call in calls if call[name][peer] is not None]
        parts.append(f"{statistics.median(values):.0f} ({max(values):.0f})" if values else "–")
    return " / ".join(parts)


def table(rows):
    """`rows`: `row`, `round_ms`, `limit`, `calls` and how many `failed`."""
    lines = [
        "| row | calls | keys, ms | picture arrives, ms | connected, ms | picture shown, ms | limit of a picture, ms |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        stood = len(row["calls"])
        cells = [row["row"], f"{stood} of {stood + row['failed']}", *(cell(row["calls"], name) for name in COLUMNS)]
        limits = " / ".join(f"{limit:.0f}" for limit in LIMITS[row["limit"]](row["round_ms"]))
        lines.append(f"| {' | '.join(cells)} | {limits} |")
    return "\n".join(lines)
