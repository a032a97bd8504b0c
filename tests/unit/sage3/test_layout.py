"""The records, read back the way that a warp reads them: PTX fragment maps for m16n8k64, one lane at a time."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")

from sageattn3 import layout, reference  # noqa: E402

TILE = 128


def words_of(record: Any, first: Any, count: Any) -> Any:
    return record[first : first + 4 * count].clone().view(torch.int32).tolist()


def nibbles(word: Any) -> Any:
    return [(word >> (4 * i)) & 15 for i in range(8)]


def values_of(codes: Any) -> Any:
    return reference.e2m1_decode(torch.tensor(codes, dtype=torch.uint8))


def scales_of(data: Any) -> Any:
    return data.clone().view(torch.float8_e4m3fn).float()


def read_query(record: Any, width: Any) -> Any:
    """``[128, D]`` from a record of Q: A fragments of warp, step, lane."""
    steps, out = width // 64, torch.zeros(TILE, width)
    words = words_of(record, 0, TILE * width // 8)
    scales = scales_of(record[TILE * width // 2 : TILE * width // 2 + TILE * width // 16])
    for warp in range(8):
        for step in range(steps):
            for lane in range(32):
                for register in range(4):
                    row = lane // 4 + 8 * (register & 1)
                    first_k = 32 * (register >> 1) + 8 * (lane % 4)
                    word = words[((warp * steps + step) * 32 + lane) * 4 + register]
                    scale = scales[((warp * steps + step) * 16 + row) * 4 + first_k // 16]
                    columns = slice(step * 64 + first_k, step * 64 + first_k + 8)
                    out[warp * 16 + row, columns] = values_of(nibbles(word)) * scale
    return out


def read_columns(record: Any, columns: Any, depth: Any) -> Any:
    """``[columns, depth]`` from a B operand: (n8 tile, step) pairs in order, two to a 16-byte load."""
    steps, out = depth // 64, torch.zeros(columns, depth)
    words = words_of(record, 0, columns * depth // 8)
    scales = scales_of(record[columns * depth // 2 : columns * depth // 2 + columns * depth // 16])
    for pair in range(columns // 8 * steps):
        tile, step = divmod(pair, steps)
        for lane in range(32):
            for half in range(2):
                word = words[((pair // 2) * 32 + lane) * 4 + (pair % 2) * 2 + half]
                first_k = 32 * half + 8 * (lane % 4)
                scale = scales[((pair // 4 * 8 + lane // 4) * 4 + pair % 4) * 4 + first_k // 16]
                column = tile * 8 + lane // 4
                out[column, step * 64 + first_k : step * 64 + first_k + 8] = values_of(nibbles(word)) * scale
    return out


@pytest.fixture(params=[64, 128])
def width(request: Any) -> Any:
    return request.param


@pytest.fixture
def rows(width: Any) -> Any:
    x = torch.randn((1, 1, 200, width), generator=torch.Generator().manual_seed(width))
    x *= torch.exp2(torch.arange(width) // 16 % 5 - 2.0)  # every block has its own magnitude
    return reference.quantize_rows(x, torch.zeros(1, 1, 1, width))


def test_query_fragments_hold_the_tile(rows: Any, width: Any) -> None:
    blocks, scale = rows
    records = layout.pack_query(blocks, scale)
    assert records.shape == (1, 1, 2, 72 * width + 16)
    for tile in range(2):
        wanted = blocks.values()[0, 0, tile * TILE : (tile + 1) * TILE]
        assert torch.equal(read_query(records[0, 0, tile], width), wanted)
        assert words_of(records[0, 0, tile], 72 * width, 4)[1:] == [0, 0, 0]
        assert float(records[0, 0, tile, 72 * width : 72 * width + 4].clone().view(torch.float32)) == scale[0, 0, tile]


def test_key_rows_are_permuted_so_that_p_needs_no_shuffle(rows: Any, width: Any) -> None:
    blocks, scale = rows
    records = layout.pack_key(blocks, scale)
    stored = read_columns(records[0, 0, 0], TILE, width)
    for token in range(TILE):
        assert torch.equal(stored[layout.permuted_row(token)], blocks.values()[0, 0, token])
    # What a lane holds of S (columns 8 j + 2 t, + 1 of n8 tile j) is what it must hold of A (8 neighbouring tokens).
    for lane in range(4):
        for group in range(4):
            held = [group * 32 + 8 * j + 2 * lane + odd for j in range(4) for odd in range(2)]
            tokens = [next(t for t in range(TILE) if layout.permuted_row(t) == row) for row in held]
            assert tokens == list(range(group * 32 + 8 * lane, group * 32 + 8 * lane + 8))


def test_value_fragments_hold_the_transposed_tile(width: Any) -> None:
    v = torch.randn((1, 1, 256, width), generator=torch.Generator().manual_seed(1))
    v *= torch.exp2(torch.arange(256)[:, None] // 16 % 5 - 2.0)
    blocks, scale = reference.quantize_channels(v)
    records = layout.pack_value(blocks)
    assert records.shape == (1, 1, 2, 72 * width)
    assert scale.shape == (1, 1, width)
    for tile in range(2):
        wanted = blocks.values()[0, 0, :, tile * TILE : (tile + 1) * TILE]
        assert torch.equal(read_columns(records[0, 0, tile], width, TILE), wanted)
