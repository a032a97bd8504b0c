"""What the package says of itself on this machine, and that it is so."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import exact  # noqa: E402 - needs torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.mark.parametrize("head_dim", [40, 64, 128, 200])
@pytest.mark.parametrize("dtype", exact.HALVES, ids=["f16", "bf16"])
def test_explain_names_a_kernel_of_this_wheel_that_runs(sage: Any, head_dim: int, dtype: Any) -> None:
    from torch.profiler import ProfilerActivity, profile

    from sageattention import _device

    q, k, v = exact.inputs(tokens=(70, 90), head_dim=head_dim, dtype=dtype)
    mask = torch.ones(70, 90, dtype=torch.bool, device="cuda")
    for options in ({}, {"return_lse": True}, {"attn_mask": mask}):
        said = sage.explain(q, k, v, **options)
        assert said.kernel in _device.RECORD.instances[said.arch]
        assert torch.cuda.get_device_name() in str(said)
        sage.sageattn(q, k, v, **options)  # loads what the profiler shall not see
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            sage.sageattn(q, k, v, **options)
            torch.cuda.synchronize()
        ran = {event.key for event in seen.key_averages()}
        assert said.kernel in ran, (said.kernel, ran)


def test_the_doctor_finds_nothing_wrong(sage: Any) -> None:
    done = subprocess.run([sys.executable, "-m", "sageattention"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert torch.cuda.get_device_name() in done.stdout
    assert sage.__version__ in done.stdout
