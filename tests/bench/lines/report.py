"""What is made of the figures: tables in Markdown, and plots in SVG. Pure."""

SET_UP_COLUMNS = [
    ("stand", lambda f: f"{f['stand']} of {f['set_ups']}"),
    ("ICE p50 / p95, ms", lambda f: pair(f, ["ice_p50_ms", "ice_p95_ms"], "{:.0f}")),
    ("DTLS p50 / p95, ms", lambda f: pair(f, ["dtls_p50_ms", "dtls_p95_ms"], "{:.0f}")),
]


def pair(figures, names, form):
    return " / ".join(shown(figures.get(name), form) for name in names)


def shown(value, form):
    return "–" if value is None else form.format(value)


def column(name, key, form):
    return name, lambda figures: " / ".join(shown(value, form) for value in figures.get(key) or [None])


CALL_COLUMNS = [
    column("first picture, s", "first_picture_s", "{:.1f}"),
    column("pictures/s", "fps", "{:.1f}"),
    column("latency p95, ms", "latency_p95_ms", "{:.0f}"),
    column("pictures/s after", "fps_after", "{:.1f}"),
    column("latency p95 after, ms", "latency_after_p95_ms", "{:.0f}"),
    column("freezes", "freezes", "{}"),
    column("longest, ms", "longest_ms", "{:.0f}"),
    column("under capacity after, s", "under_after_s", "{:.1f}"),
    column("line used", "used", "{:.0%}"),
    column("queue p95, ms", "queue_p95_ms", "{:.0f}"),
    column("sound invented", "invented", "{:.1%}"),
    column("sound late p95, ms", "sound_p95_ms", "{:.0f}"),
    column("full rate after, s", "full_after_s", "{:.1f}"),
    column("cores", "cores", "{:.2f}"),
    column("memory, MB", "memory_mb", "{:.0f}"),
]


def tables(results):
    """`results`: `row`, `program`, and `figures` or `failed`."""
    calls = [result for result in results if not result["row"].startswith("set-up")]
    set_ups = [result for result in results if result["row"].startswith("set-up")]
    parts = [table(part, columns) for part, columns in ((calls, CALL_COLUMNS), (set_ups, SET_UP_COLUMNS)) if part]
    return "\n\n".join(parts)


def table(results, columns):
    lines = [["row", "program", *(name for name, _ in columns)]]
    for result in results:
        if "failed" in result:
            cells = [result["failed"], *([""] * (len(columns) - 1))]
        else:
            cells = [read(result["figures"]) for _, read in columns]
        lines.append([result["row"], result["program"], *cells])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---- plots ----

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 820, 150, 56, 12, 62, 34
COLOURS = {"tring": "#0b62c4", "libwebrtc": "#d1662a", "aiortc": "#4f8f3a", "emulated": "#7a5ca8"}
STEP_S = 0.5


def plot(row, results):
    """The plot of a row: capacity and send rate, queueing delay, picture rate; of what bob gets, by program."""
    results = [result for result in results if "series" in result]
    length = max(result["series"]["t"][-1] for result in results)
    panels = [("kbit/s that are sent (cut at 1.5 times the capacity)", "offered_kbps"), ("queueing delay, ms", "queue_ms"), ("pictures/s", "fps")]
    height = TOP + len(panels) * (PANEL + GAP)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{row}: from alice to bob, seconds since the connection</text>',
    ]
    for n, name in enumerate(result["program"] for result in results):
        svg.append(f'<text x="{LEFT + n * 90}" y="36" fill="{COLOURS[name]}">■ {name}</text>')
    svg.append(f'<text x="{LEFT + 270}" y="36" fill="#999">■ capacity</text>')
    for n, (name, key) in enumerate(panels):
        svg += panel(name, key, results, TOP + n * (PANEL + GAP), length)
    return "\n".join([*svg, "</svg>"]) + "\n"


def panel(name, key, results, top, length):
    curves = [(COLOURS[r["program"]], r["series"]["t"], r["series"][key]) for r in results]
    if key == "offered_kbps":
        changes = results[0]["series"]["capacity"]
        times = [t for n, (t, _) in enumerate(changes) for t in (t, changes[n + 1][0] if n + 1 < len(changes) else length)]
        curves.insert(0, ("#999", times, [rate / 1000 for _, rate in changes for _ in range(2)]))
    most = max((value for _, _, values in curves for value in values if value is not None), default=0) or 1
    if key == "offered_kbps":
        most = min(most, 1.5 * max(curves[0][2]))
    x = lambda t: LEFT + min(max(t, 0), length) / length * (WIDTH - LEFT - RIGHT)
    y = lambda value: top + PANEL - min(value, most) / most * PANEL
    lines = [f'<text x="{LEFT}" y="{top - 5}">{name}</text>']
    for tick in range(0, int(length) + 1, 10):
        lines.append(f'<path d="M{x(tick):.0f} {top}v{PANEL}" stroke="#eee"/>')
        lines.append(f'<text x="{x(tick):.0f}" y="{top + PANEL + 13}" text-anchor="middle">{tick}</text>')
    for part in range(3):
        value = most * part / 2
        lines.append(f'<path d="M{LEFT} {y(value):.0f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 5}" y="{y(value) + 4:.0f}" text-anchor="end">{value:.0f}</text>')
    for colour, times, values in curves:
        points = " ".join(f"{x(t):.0f},{y(value):.0f}" for t, value in zip(times, values) if value is not None)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return lines
