"""Whole calls over lines with real queues, loss and delay; `./dev bench lines` starts it. See docs/TESTING.md."""

import json
import os
import sys
import time

import figures
import report
from command import Rows, say
from network import Line, Meter
from programs import CONNECT_S, PROGRAMS, ROOT, EmulatedCall, emulated

# Line: arguments of `Line`. `changes`: seconds after the connection, and rate from then on. `length_s`: of the call.
ROWS = {
    "step-250": {"line": {"rate": 2_000_000}, "changes": [(12, 250_000), (32, 2_000_000)], "length_s": 52},
    "step-100": {"line": {"rate": 2_000_000}, "changes": [(12, 100_000), (32, 2_000_000)], "length_s": 52},
    "shared-500": {
        "line": {"shared": True, "rate": 4_000_000}, "changes": [(12, 500_000), (32, 4_000_000)], "length_s": 52,
    },  # fmt: skip
    **{f"loss-{share}": {"line": {"loss": share / 100}, "length_s": 18} for share in (0, 5, 10, 20, 30)},
    "start-300": {"line": {"rate": 300_000}, "length_s": 20},
    **{f"delay-{ms}-loss-2": {"line": {"delay_ms": ms, "loss": 0.02}, "length_s": 60} for ms in (50, 150)},
    **{f"set-up-{share}": {"line": {"loss": share / 100}, "set_ups": True} for share in (0, 5, 10, 20)},
}
# Figures that counters of the kernel's queues give.
OF_QUEUES = ["queue_p95_ms", "used", "under_after_s"]
PLOTTED = ["step-250", "step-100", "shared-500"]
# Over how long the picture rate of a plot is: samples come every 250 ms.
FPS_OVER_S = 2
# How far a line may be from the delay that its row names.
DELAY_WITHIN_MS = 5


def measure(row, given, start, set_ups):
    """Figures, and series for a plot, of one row over the line `given`; OSError when there is no call."""
    with Line(**given) as line:
        if line.delay_ms and abs(line.one_way_ms() - line.delay_ms) > DELAY_WITHIN_MS * (1 + line.loss):
            raise OSError(f"the line delays by {line.one_way_ms():.1f} ms")
        call = start(line)
        try:
            if row.get("set_ups"):
                return {"figures": figures.of_set_ups([call.set_up() for _ in range(set_ups)])}
            return measure_call(row, line, call.call())
        finally:
            call.end()


def measure_call(row, line, call):
    changes = [(time.time(), line.rate)]
    meter = Meter(line, call.pids)
    if not call.connected.wait(CONNECT_S):
        raise OSError(f"no connection in {CONNECT_S} s: see {call.folder}")
    meter.start()
    start = call.connected_at
    for after, rate in row.get("changes", []):
        sleep_until(start + after)
        call.set_rate(rate)
        changes.append((time.time(), rate))
    sleep_until(start + row["length_s"])
    memory, cores = meter.memory_bytes(), meter.stop()
    call_samples = [[sample for sample in samples if sample["t"] <= start + row["length_s"]] for samples in call.samples]
    if not all(call_samples):
        raise OSError(f"a peer told nothing: see {call.folder}")
    found = figures.of_call(call_samples, meter.samples, start, changes)
    if isinstance(call, EmulatedCall):
        # What the line does is done before its packets come out.
        found = {name: value for name, value in found.items() if name not in OF_QUEUES}
    found |= {"cores": cores, "memory_mb": [bytes / 1e6 for bytes in memory]}
    return {"figures": found, "series": series(call_samples[1], meter.samples, start, changes)}


def series(samples, line, start, changes):
    """From alice to bob, every half second: what is offered, the queue, pictures; and the capacity."""
    count = int((min(samples[-1]["t"], line[-1]["t"]) - start) / report.STEP_S)
    times = [start + n * report.STEP_S for n in range(1, count)]
    rate_at = lambda t: [rate for at, rate in changes if at <= t or at == changes[0][0]][-1]
    delay = lambda t: figures.at(line, t)["queues"][0]["backlog"] * 8000 / rate_at(t) if rate_at(t) else 0
    rounded = lambda values: [None if value is None else round(value, 1) for value in values]
    return {
        "t": rounded(t - start for t in times),
        "offered_kbps": rounded((figures.offered(line, 0, t - report.STEP_S, t) or 0) / 1000 for t in times),
        "queue_ms": rounded(map(delay, times)),
        "fps": rounded(figures.rate(samples, t - FPS_OVER_S, t) for t in times),
        "capacity": [(round(max(0, at - start), 1), rate) for at, rate in changes],
    }


def sleep_until(t):
    time.sleep(max(0, t - time.time()))


def options():
    parser = Rows("lines", __doc__, ROWS)
    parser.add_argument("--alone", action="store_true", help="tring, without libwebrtc and aiortc beside it")
    parser.add_argument("--emulated", action="store_true", help="tring alone, and again over lines that it emulates")
    parser.add_argument("--set-ups", type=int, default=24, metavar="N", help="calls of each row set-up-…")
    parser.add_argument("--json", default=f"{ROOT}/target/lines.json", metavar="FILE", help="figures and curves")
    parser.add_argument("--plots", default=f"{ROOT}/docs/lines", metavar="DIR", help="where the SVG files go")
    return parser.chosen()


def main():
    chosen = options()
    alone = chosen.alone or chosen.emulated
    programs = {name: find() for name, find in PROGRAMS.items() if name == "tring" or not alone}
    results = []
    # The programs follow each other on each line, so that what else the machine does falls on all of them.
    for row in chosen.rows:
        starts = [(name, start, ROWS[row]["line"]) for name, start in programs.items()]
        if chosen.emulated:
            starts.append(("emulated", emulated(ROWS[row]), {}))
        for name, start, line in starts:
            say(f"{row}: {name}")
            result = {"row": row, "program": name}
            try:
                result |= measure(ROWS[row], line, start, chosen.set_ups) if start else {"failed": "not installed"}
            except OSError as error:
                result["failed"] = str(error)
            for failure in result.get("figures", {}).get("failures", []):
                say(f"  {failure}")
            results.append(result)
    print(report.tables(results))
    with open(chosen.json, "w") as file:
        json.dump({"at": int(time.time()), "results": results}, file)
    for row in PLOTTED:
        of_row = [result for result in results if result["row"] == row and "series" in result]
        if of_row:
            os.makedirs(chosen.plots, exist_ok=True)
            with open(f"{chosen.plots}/{row}.svg", "w") as file:
                file.write(report.plot(row, of_row))
    failed = [result for result in results if result.get("failed", "not installed") != "not installed"]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
