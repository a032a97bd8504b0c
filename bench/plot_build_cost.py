"""Draws CPU seconds against wheels from bench/results/build_all.json, beside what building each wheel anew would cost.

``python bench/plot_build_cost.py`` writes bench/results/build_all.svg. A part is charged to the first wheel, in the
order of the matrix, that needs it; what belongs to no part (NVRTC, the tool itself) to all wheels evenly. The
comparison is a line of 1905 CPU seconds a wheel: SageAttention 2.2.0 built with nvcc 13.0 for compute capability 9.0
alone, measured on the same kind of machine. The scale of the seconds is logarithmic: on a plain one the lower line
would lie on the axis.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from buildtool.plan.cells import Cell  # noqa: E402 - from this checkout
from buildtool.plan.matrix import load_matrix  # noqa: E402
from buildtool.plan.planner import cell_of_wheel  # noqa: E402

RESULTS = ROOT / "bench" / "results"
ANEW = 1905.0
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 76, 24, 40, 48
LOWEST, HIGHEST = 100.0, 1e6


def parts_of(cell: Cell) -> tuple[str, ...]:
    """The names that the builder's manifest gives to the parts of a wheel, the wheel itself last."""
    cubins = (f"cubins {cell.pins.nvrtc} {arch}" for arch in cell.archs)
    binding = f"lib{cell.combo.package}.so torch {cell.combo.torch} {cell.combo.platform} abi {int(cell.cxx11_abi)}"
    return (*cubins, binding, cell.wheel)


def costs(step: dict[str, Any], cells: Sequence[Cell]) -> list[float]:
    """CPU seconds that each wheel added."""
    left = dict(step["parts"])
    rows = [sum(left.pop(part, 0.0) for part in parts_of(cell)) for cell in cells]
    if left:
        sys.exit(f"parts of no wheel: {', '.join(left)}")
    rest = (step["cpu"] - sum(rows)) / len(rows)
    return [row + rest for row in rows]


def draw(added: Sequence[float]) -> str:
    """The chart as SVG."""
    sums, count = list(accumulate(added)), len(added)

    def x(cells: float) -> float:
        return LEFT + cells / count * (WIDTH - LEFT - RIGHT)

    def y(seconds: float) -> float:
        part = math.log(max(seconds, LOWEST) / LOWEST) / math.log(HIGHEST / LOWEST)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    def line(values: Sequence[float], style: str) -> str:
        points = " ".join(f"{x(n):.1f},{y(value):.1f}" for n, value in enumerate(values, 1))
        return f'<polyline points="{points}" fill="none" {style}/>'

    def text(at: float, height: float, words: str, style: str) -> str:
        return f'<text x="{at:.1f}" y="{height:.1f}" {style}>{words}</text>'

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        '<g font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for power in range(round(math.log10(LOWEST)), round(math.log10(HIGHEST)) + 1):
        height = y(10**power)
        lines.append(f'<path d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        lines.append(text(LEFT - 6, height + 4, f"{10**power:,}", 'text-anchor="end"'))
    numbers = (1, *range(20, count - 10, 20), count)
    lines += [text(x(cells), HEIGHT - BOTTOM + 18, str(cells), 'text-anchor="middle"') for cells in numbers]
    anew = [ANEW * n for n in range(1, count + 1)]
    lines += [
        line(anew, 'stroke="#b33" stroke-dasharray="6 4"'),
        line(sums, 'stroke="#157" stroke-width="2"'),
        text(
            x(count),
            y(anew[-1]) - 8,
            f"each anew, {ANEW:.0f} a wheel: {anew[-1]:,.0f}",
            'text-anchor="end" fill="#b33"',
        ),
        text(x(count), y(sums[-1]) + 20, f"measured: {sums[-1]:,.0f}", 'text-anchor="end" fill="#157"'),
        text(LEFT, 24, "CPU seconds for all wheels so far", ""),
        text(WIDTH / 2, HEIGHT - 10, "wheels", 'text-anchor="middle"'),
        "</g></svg>",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    document = json.loads((RESULTS / "build_all.json").read_text("utf-8"))
    step = document["steps"][0]
    matrix = load_matrix(ROOT / "matrix.toml")
    cells = [cell_of_wheel(matrix, str(row[0])) for row in step["cells"]]
    (RESULTS / "build_all.svg").write_text(draw(costs(step, cells)), "utf-8")


if __name__ == "__main__":
    main()
