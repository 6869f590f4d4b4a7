"""The table of a run, in Markdown. Pure."""

import math


def shown(value, form):
    return "–" if value is None or (isinstance(value, float) and math.isnan(value)) else form.format(value)


def cell(result, name, form, met):
    """A figure, in bold where it misses its mark; why there is none."""
    if result is None:
        return ""
    if "failed" in result:
        return result["failed"]
    value = result["figures"].get(name)
    text = shown(value, form)
    return f"**{text}**" if value is not None and met and not met(value) else text


def table(rows, results, programs):
    """`rows`: by name, as in rows.py; `results`: `row`, `program`, and `figures` or `failed`."""
    lines = [["row", "figure", "mark", *programs], ["---"] * (3 + len(programs))]
    for row, spec in rows.items():
        of_row = {result["program"]: result for result in results if result["row"] == row}
        for number, (name, title, form, mark, met) in enumerate(spec["figures"] if of_row else []):
            cells = [cell(of_row.get(program), name, form, met) for program in programs]
            lines.append([row if number == 0 else "", title, mark, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def misses(rows, results):
    """A line each."""
    found = []
    for result in results:
        for name, title, form, mark, met in rows[result["row"]]["figures"]:
            value = result.get("figures", {}).get(name)
            if met and value is not None and not met(value):
                found.append(f"{result['row']}, {result['program']}: {title} {shown(value, form)}, mark {mark}")
    return found
