"""What the facts of matrix.toml must satisfy beyond their shape, so that every combo derived from them can exist."""

from __future__ import annotations

from itertools import combinations

from packaging.utils import canonicalize_name

from buildtool.plan.faults import Reporter
from buildtool.plan.locate import KeyPath
from buildtool.plan.model import MatrixFile, TorchFacts
from buildtool.plan.tags import build_tag, minor_of, version_key

_ROLES = {"nvrtc": "nvidia-cuda-nvrtc", "runtime_headers": "nvidia-cuda-runtime"}
_CRT_PACKAGE_SINCE = 13
"""First CUDA major whose crt headers are a package of their own."""


def check_facts(report: Reporter, facts: MatrixFile) -> None:
    """Report every contradiction among the facts."""
    _check_packages(report, facts)
    _check_platforms(report, facts)
    for cuda in facts.cuda:
        _check_cuda(report, facts, cuda)
    for minor, torch in facts.torch.items():
        _check_torch(report, facts, minor, torch)
    _check_tags(report, facts)


def _check_packages(report: Reporter, facts: MatrixFile) -> None:
    for one, other in combinations(facts.package, 2):
        if canonicalize_name(one) == canonicalize_name(other):
            report.add(("package", other), f"its wheels would have the names of {one}'s", remedy="rename one of them")
    for name, package in facts.package.items():
        for index, arch in enumerate(package.archs):
            if arch not in facts.arch:
                path = ("package", name, "archs", index)
                report.unknown(path, "no such architecture is declared", arch, facts.arch)


def _check_platforms(report: Reporter, facts: MatrixFile) -> None:
    for name, platform in facts.platform.items():
        if not name.endswith("amd64" if platform.os == "windows" else platform.machine):
            report.add(("platform", name), f"is not a tag of {platform.os} on {platform.machine}", name, "correct one")
        if (platform.container is not None) != name.startswith("manylinux"):
            remedy = "name an image for manylinux tags, and for no other"
            report.add(("platform", name, "container"), "does not fit the tag", platform.container, remedy)


def _check_cuda(report: Reporter, facts: MatrixFile, cuda: str) -> None:
    about, major = facts.cuda[cuda], cuda.split(".", maxsplit=1)[0]
    suffix = f"-cu{major}" if int(major) < _CRT_PACKAGE_SINCE else ""
    roles = {**_ROLES, "crt_headers": "nvidia-cuda-nvcc" if suffix else "nvidia-cuda-crt"}
    for field, package in roles.items():
        name, version = getattr(about, field).split("==")
        if name != package + suffix or minor_of(version) != cuda:
            remedy = f"pin {package}{suffix}=={cuda}.<newest on PyPI>"
            report.add(("cuda", cuda, field), f"is not CUDA {cuda}'s package", f"{name}=={version}", remedy)
    for machine in ("x86_64", "aarch64"):
        for index, arch in enumerate(getattr(about.archs, machine)):
            path = ("cuda", cuda, "archs", machine, index)
            if arch not in facts.arch:
                report.unknown(path, "no such architecture is declared", arch, facts.arch)
            elif version_key(cuda) < version_key(facts.arch[arch].cuda_minimum):
                usable = [name for name, it in facts.arch.items() if version_key(it.cuda_minimum) <= version_key(cuda)]
                message = f"CUDA {cuda} cannot target it, CUDA {facts.arch[arch].cuda_minimum} is the first that can"
                report.add(path, message, arch, f"usable here: {', '.join(usable)}")


def _check_torch(report: Reporter, facts: MatrixFile, minor: str, torch: TorchFacts) -> None:
    for index, release in enumerate(torch.releases):
        if minor_of(release) != minor:
            remedy = f"move it to [torch.{minor_of(release)!r}]".replace("'", '"')
            report.add(("torch", minor, "releases", index), f"is no release of {minor}", release, remedy)
    for field in ("cuda", "experimental_cuda", "pre_cxx11_abi_cuda"):
        for index, cuda in enumerate(getattr(torch, field)):
            if cuda not in facts.cuda:
                path: KeyPath = ("torch", minor, field, index)
                report.unknown(path, f"no CUDA {cuda} is declared", cuda, facts.cuda)
    built = [*torch.cuda, *torch.experimental_cuda]
    for field in ("releases", "pythons"):
        _check_unique(report, ("torch", minor, field), getattr(torch, field))
    _check_unique(report, ("torch", minor, "cuda"), built)
    for index, cuda in enumerate(torch.pre_cxx11_abi_cuda):
        if cuda not in built:
            path = ("torch", minor, "pre_cxx11_abi_cuda", index)
            report.unknown(path, f"PyTorch {minor} has no build for it", cuda, built)
    if torch.pypi_cuda not in built:
        path = ("torch", minor, "pypi_cuda")
        report.unknown(path, f"PyTorch {minor} has no build for it", torch.pypi_cuda, built)


def _check_unique(report: Reporter, path: KeyPath, values: list[str]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            report.add((*path, index), "is listed twice, so two cells would have one file name", value, "delete one")


def _check_tags(report: Reporter, facts: MatrixFile) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for minor, torch in facts.torch.items():
        for index, release in enumerate(torch.releases):
            for cuda in dict.fromkeys([*torch.cuda, *torch.experimental_cuda]):
                other = seen.setdefault(build_tag(release, cuda), (release, cuda))
                if other != (release, cuda):
                    message = f"with CUDA {cuda} it has the build tag of torch {other[0]} with CUDA {other[1]}"
                    remedy = "wheels of the two would overwrite each other; keep one of them"
                    report.add(("torch", minor, "releases", index), message, build_tag(release, cuda), remedy)
