"""What the commands `./dev bench …` have in common."""

import argparse
import os
import sys


def say(text):
    print(text, file=sys.stderr, flush=True)


class Rows(argparse.ArgumentParser):
    """Options of a bench with rows, which are named first; all of them unless said."""

    def __init__(self, bench, about, rows):
        super().__init__(prog=f"./dev bench {bench}", description=about)
        self.rows = rows
        self.add_argument("rows", nargs="*", metavar="ROW", help=f"of {' '.join(rows)}; all of them unless said")

    def chosen(self):
        """The options; ends where a row is unknown, and where this is not root, who may make namespaces."""
        chosen = self.parse_args()
        for row in chosen.rows:
            if row not in self.rows:
                self.error(f"there is no row {row}; there are {' '.join(self.rows)}")
        if os.geteuid():
            raise SystemExit(f"{self.prog} makes network namespaces, and so needs root")
        chosen.rows = chosen.rows or list(self.rows)
        return chosen
