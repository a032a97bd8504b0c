"""Draws CPU seconds against cells from bench/results/build_cost.json, beside what building every cell anew would cost.

``python bench/plot_build_cost.py`` writes bench/results/build_cost.svg. The comparison is a line of 1905 CPU seconds a
cell: SageAttention 2.2.0 built with nvcc 13.0 for compute capability 9.0 alone, measured on the same kind of machine.
"""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
ANEW = 1905.0
WIDTH, HEIGHT, MARGIN = 640, 360, 56


def draw(costs: list[tuple[str, float]]) -> str:
    """The chart as SVG: ``costs`` are (what the cell adds, CPU seconds it cost)."""
    sums = list(accumulate(cost for _, cost in costs))
    top, count = ANEW * len(costs), len(costs)

    def x(cells: float) -> float:
        return MARGIN + cells / count * (WIDTH - 2 * MARGIN)

    def y(seconds: float) -> float:
        return HEIGHT - MARGIN - seconds / top * (HEIGHT - 2 * MARGIN)

    points = " ".join(f"{x(n):.1f},{y(s):.1f}" for n, s in enumerate([0.0, *sums]))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        '<g font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{x(0)} {y(top)}V{y(0)}H{x(count)}" fill="none" stroke="#444"/>',
        f'<path d="M{x(0)} {y(0)}L{x(count)} {y(top)}" stroke="#b33" stroke-dasharray="6 4"/>',
        f'<text x="{x(count) - 4}" y="{y(top) - 8}" text-anchor="end" fill="#b33">anew: {ANEW:.0f} each</text>',
        f'<polyline points="{points}" fill="none" stroke="#157" stroke-width="2"/>',
    ]
    for n, (total, (what, _)) in enumerate(zip(sums, costs, strict=True), 1):
        lines.append(f'<circle cx="{x(n):.1f}" cy="{y(total):.1f}" r="3.5" fill="#157"/>')
        lines.append(f'<text x="{x(n):.1f}" y="{y(total) - 10:.1f}" text-anchor="end" fill="#157">{total:.0f}</text>')
        lines.append(f'<text x="{x(n):.1f}" y="{y(0) + 18:.1f}" text-anchor="end">{n}: {what}</text>')
    lines.append(f'<text x="{MARGIN}" y="24">CPU seconds for all cells so far</text></g></svg>')
    return "\n".join(lines) + "\n"


def main() -> None:
    document = json.loads((RESULTS / "build_cost.json").read_text("utf-8"))
    costs = [(row["step"], row["cpu"]) for row in document["steps"] if row["step"] != "same cell again"]
    (RESULTS / "build_cost.svg").write_text(draw(costs), "utf-8")


if __name__ == "__main__":
    main()
