"""What `sageattn` would run for given tensors, and why, without running it."""

from __future__ import annotations

from dataclasses import dataclass

from sageattention import _dispatch, _record


@dataclass(frozen=True)
class Explanation:
    """The choice for one call; ``print`` it, or read its fields."""

    gpu: str
    capability: _dispatch.Capability
    arch: str
    """Architecture of the cubins used."""
    path: str
    """``f16``, ``f8``, ``f8_sm90`` or ``f8_sm90_qk16``."""
    what: str
    reason: str
    qk_quant_gran: str
    pv_accum_dtype: str
    head_dim: int
    padded_head_dim: int
    """Head dim of the kernel: channels beyond ``head_dim`` are zeros on chip, and are not in memory."""
    key_block: int
    """Tokens of K that share a quantization block."""
    v_max: float
    """Largest magnitude of V after scaling to FP8; 0 where V stays in 16 bits."""
    cubins: str
    """Archive in the wheel."""
    kernel: str
    """The attention kernel in that archive."""

    def __str__(self) -> str:
        per = "lane's" if self.qk_quant_gran == "per_thread" else "warp's"
        qk = f"INT8 {self.qk_quant_gran}: a scale a {per} rows; K less its mean, by {self.key_block}"
        if self.qk_quant_gran == "none":
            qk = "in their 16 bits"
        v = f"FP8 e4m3, one scale a channel, largest magnitude {self.v_max:g}" if self.v_max else "in its 16 bits"
        return "\n".join(
            [
                f"GPU:       {self.gpu} (compute capability {self.capability[0]}.{self.capability[1]})",
                f"path:      {self.path}: {self.what}; {self.reason}",
                f"Q, K:      {qk}",
                f"V:         {v}; products summed in {self.pv_accum_dtype}",
                f"head dim:  {self.head_dim} in kernels of {self.padded_head_dim}",
                f"kernel:    {self.kernel} in {self.cubins}",
            ]
        )


def explain(
    record: _record.Record,
    gpu: str,
    capability: _dispatch.Capability,
    dtype: str,
    head_dim: int,
    masked: bool,
    lse: bool,
    quantized_qk: bool,
) -> Explanation:
    """``dtype`` is ``f16`` or ``bf16``; ``quantized_qk`` is what `_dispatch.quantizes_qk` said.

    Raises LookupError if the wheel has no code for the GPU.
    """
    choice = _dispatch.choose(capability, record.archs, record.cuda, head_dim, quantized_qk)
    path = _dispatch.PATHS[choice.path]
    return Explanation(
        gpu=gpu,
        capability=capability,
        arch=choice.arch,
        path=choice.path,
        what=path.what,
        reason=choice.reason,
        qk_quant_gran=choice.qk_quant_gran,
        pv_accum_dtype=choice.pv_accum_dtype,
        head_dim=head_dim,
        padded_head_dim=_dispatch.padded_head_dim(head_dim),
        key_block=path.key_block,
        v_max=path.v_max[choice.pv_accum_dtype],
        cubins=f"cubins/{choice.arch}.ar",
        kernel=_dispatch.kernel(choice.path, dtype, head_dim, choice.pv_accum_dtype, masked, lse),
    )
