"""The order of bytes in the kernels' operand records: written out from the fragment maps, for tests of the quantizers.

One record holds 128 tokens: 64 D bytes of E2M1 values, 8 D bytes of E4M3 scales, and for Q and K the tile's fp32 scale
in 16 bytes. The maps are those of PTX ``mma.m16n8k64`` with 4-bit operands, as in
``kernels/include/sage/sage3_layout.cuh``.
"""

from __future__ import annotations

from typing import List, Optional

import torch
from torch import Tensor

from sageattn3.reference import BLOCK, TILE, Blocks

LANES = 32


def permuted_row(token: int) -> int:
    """The K row that holds a token, inside its group of 32: then P leaves the first mma in the second one's order."""
    quad_lane, pair, odd = token % 32 // 8, token % 8 // 2, token % 2
    return token // 32 * 32 + pair * 8 + quad_lane * 2 + odd


def _words(codes: Tensor) -> Tensor:
    """uint8 codes ``[..., N]`` to int32 words ``[..., N / 8]``, the first code in the lowest nibble."""
    grouped = codes.unflatten(-1, (-1, 8)).long()
    word = (grouped << (4 * torch.arange(8, device=codes.device))).sum(-1)
    return torch.where(word >= 2**31, word - 2**32, word).to(torch.int32)


def _scale_bytes(scales: Tensor) -> Tensor:
    return scales.to(torch.float8_e4m3fn).view(torch.uint8)


def _record(words: Tensor, scales: Tensor, tile_scale: Optional[Tensor]) -> Tensor:
    parts = [words.contiguous().view(torch.uint8), scales]
    if tile_scale is not None:
        padded = torch.nn.functional.pad(tile_scale.float().unsqueeze(-1), (0, 3))
        parts.append(padded.contiguous().view(torch.uint8))
    return torch.cat(parts, dim=-1)


def pack_query(blocks: Blocks, tile_scale: Tensor) -> Tensor:
    """Records of Q: ``codes [B, H, tiles * 128, D]`` to uint8 ``[B, H, tiles, 72 D + 16]``."""
    width = blocks.codes.shape[-1]
    steps = width // 64
    words = _words(blocks.codes).unflatten(-2, (-1, TILE))
    scales = _scale_bytes(blocks.scales).unflatten(-2, (-1, TILE))
    word_index: List[int] = []
    for warp in range(8):
        for step in range(steps):
            for lane in range(LANES):
                for register in range(4):
                    row = warp * 16 + lane // 4 + 8 * (register % 2)
                    chunk = step * 8 + register // 2 * 4 + lane % 4
                    word_index.append(row * (width // 8) + chunk)
    scale_index = [
        (warp * 16 + row) * (width // 16) + step * 4 + block
        for warp in range(8)
        for step in range(steps)
        for row in range(16)
        for block in range(4)
    ]
    return _record(words.flatten(-2)[..., word_index], scales.flatten(-2)[..., scale_index], tile_scale)


def _pack_columns(words: Tensor, scales: Tensor, tile_scale: Optional[Tensor]) -> Tensor:
    """Records of a B operand from words ``[..., columns, K / 8]`` and scale bytes ``[..., columns, K / 16]``."""
    columns, chunks = words.shape[-2:]
    steps = chunks // 8
    # (n8 tile, step) pairs in use order; a lane's 16-byte load takes two of them, a 16-byte load of scales four.
    pairs = [(tile, step) for tile in range(columns // 8) for step in range(steps)]
    word_index: List[int] = []
    for first in range(0, len(pairs), 2):
        for lane in range(LANES):
            for tile, step in pairs[first : first + 2]:
                word = (tile * 8 + lane // 4) * chunks + step * 8 + lane % 4
                word_index += [word, word + 4]
    scale_index: List[int] = []
    for first in range(0, len(pairs), 4):
        for column in range(8):
            for tile, step in pairs[first : first + 4]:
                scale_index.extend((tile * 8 + column) * (chunks // 2) + step * 4 + block for block in range(4))
    return _record(words.flatten(-2)[..., word_index], scales.flatten(-2)[..., scale_index], tile_scale)


def pack_key(blocks: Blocks, tile_scale: Tensor) -> Tensor:
    """Records of K, tokens permuted: ``codes [B, H, tiles * 128, D]`` to uint8 ``[B, H, tiles, 72 D + 16]``."""
    token_of_row = sorted(range(TILE), key=permuted_row)
    words = _words(blocks.codes).unflatten(-2, (-1, TILE))[..., token_of_row, :]
    scales = _scale_bytes(blocks.scales).unflatten(-2, (-1, TILE))[..., token_of_row, :]
    return _pack_columns(words, scales, tile_scale)


def pack_value(blocks: Blocks) -> Tensor:
    """Records of V: ``codes [B, H, D, tiles * 128]`` to uint8 ``[B, H, tiles, 72 D]``."""
    words = _words(blocks.codes).unflatten(-1, (-1, TILE // 8)).transpose(-3, -2)
    scales = _scale_bytes(blocks.scales).unflatten(-1, (-1, TILE // BLOCK)).transpose(-3, -2)
    return _pack_columns(words, scales, None)
