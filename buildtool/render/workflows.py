"""The GitHub workflows: templates, filled with pinned actions and what the matrix says of platforms."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from buildtool.plan.cells import PYTORCH_INDEX
from buildtool.plan.matrix import Matrix
from buildtool.plan.tags import interpreter_tags, version_key
from buildtool.render.docker import Tools
from buildtool.render.text import fill

RELEASE_SET = "release"
"""The set that pull requests build in part, and releases as a whole."""


class Action(BaseModel):
    """A GitHub action: its version, and the commit that it is pinned to."""

    model_config = ConfigDict(extra="forbid")

    version: str
    commit: str


class ExternalPins(BaseModel):
    """buildtool/render/pins.toml."""

    model_config = ConfigDict(extra="forbid")

    tools: Tools
    actions: dict[str, Action]


def parse_pins(text: str) -> ExternalPins:
    """Read pins.toml; it is part of the program, so a mistake in it is a programming error."""
    return ExternalPins.model_validate(tomllib.loads(text))


def render_workflows(matrix: Matrix, templates: Mapping[str, str], pins: ExternalPins) -> dict[str, str]:
    """Workflow texts by file name, of templates by file name (``ci.yml.in`` → ``ci.yml``)."""
    values = {**_actions(pins), **_platforms(matrix), **_versions(pins)}
    for system in _SYSTEMS:
        default = {"DEFAULT_SELECTION": values[f"SELECTION_{system.upper()}"]}
        values[f"INPUTS_{system.upper()}"] = fill(_INPUTS, default, "inputs")
    steps = {name: fill(text, _used(text, values), name) for name, text in _STEPS.items()}
    jobs = {name: fill(text, _used(text, {**values, **steps}), name) for name, text in _JOBS.items()}
    result = {}
    for name, template in templates.items():
        header = f"# Rendered from buildtool/render/templates/{name} by `python -m buildtool render`."
        known = {**values, **steps, **jobs, "HEADER": header}
        result[name.removesuffix(".in")] = fill(template, _used(template, known), name)
    return result


def _used(template: str, values: Mapping[str, str]) -> dict[str, str]:
    """Only the values that this template has a place for: the templates share one vocabulary."""
    return {name: value for name, value in values.items() if f"@{name}@" in template}


def _actions(pins: ExternalPins) -> dict[str, str]:
    return {
        f"ACTION_{name.split('/')[1].upper().replace('-', '_')}": f"{name}@{action.commit} # {action.version}"
        for name, action in pins.actions.items()
    }


def _versions(pins: ExternalPins) -> dict[str, str]:
    return {
        "NOX": pins.tools.nox,
        "PYTHON_VERSION": pins.tools.python,
        "INTERPRETER": "-".join(interpreter_tags(pins.tools.python)),
    }


def _platforms(matrix: Matrix) -> dict[str, str]:
    facts = matrix.facts.platform
    native = {system: [n for n, p in facts.items() if p.os == system and not p.container] for system in _SYSTEMS}
    released = [combo.platform for combo in matrix.sets[RELEASE_SET]]
    of = {system: ",".join(name for name in native[system] if name in released) for system in _SYSTEMS}
    images = [p.container for p in facts.values() if p.container]
    return {
        "LINUX_RUNNER": facts[native["linux"][0]].runner,
        "WINDOWS_RUNNER": facts[native["windows"][0]].runner,
        "LINUX_PLATFORMS": of["linux"],
        "WINDOWS_PLATFORMS": of["windows"],
        "TORCH_CPU": f"torch=={max((c.torch for c in matrix.sets[RELEASE_SET]), key=version_key)}+cpu",
        "TORCH_CPU_INDEX": f"{PYTORCH_INDEX}/cpu",
        "SELECTION_RELEASE": f"set={RELEASE_SET}",
        "SELECTION_LINUX": f"set={RELEASE_SET} platform={of['linux']}",
        "SELECTION_WINDOWS": f"set={RELEASE_SET} platform={of['windows']}",
        "IMAGE": images[0] or "" if images else "",
    }


_SYSTEMS = ("linux", "windows")

_INPUTS = """\
selection:
  description: Cells to build, as key=value words
  type: string
  default: @DEFAULT_SELECTION@
since:
  description: Build only cells whose inputs changed since this commit (and one of each package)
  type: string
  default: ""
shard:
  description: Which part of a selection that is too large for one matrix
  type: string
  default: "1"
cubins:
  description: Where the cubins come from, "compiled" here or "given" by another job of this run
  type: string
  default: compiled
"""
"""What both wheel workflows can be asked for."""

_STEPS = {
    "CHECKOUT": """\
- name: Check out
  uses: @ACTION_CHECKOUT@
  with:
    persist-credentials: false
""",
    "CHECKOUT_HISTORY": """\
- name: Check out with history and tags
  uses: @ACTION_CHECKOUT@
  with:
    persist-credentials: false
    fetch-depth: 0
""",
    "PYTHON": """\
- name: Set up Python
  uses: @ACTION_SETUP_PYTHON@
  with:
    python-version: "@PYTHON_VERSION@"
- name: Install nox
  run: python -m pip install nox==@NOX@
""",
    "CUBINS_DOWNLOAD": """\
- name: Take over the cubins
  uses: @ACTION_DOWNLOAD_ARTIFACT@
  with:
    pattern: cubins-${{ matrix.cuda }}-*
    merge-multiple: true
    path: .cache/buildtool
""",
    "WHEEL_UPLOAD": """\
- name: Hand on the wheel and its report
  uses: @ACTION_UPLOAD_ARTIFACT@
  with:
    name: wheel-${{ matrix.name }}
    path: dist
    if-no-files-found: error
""",
    "WHEELS_DOWNLOAD": """\
- name: Collect the wheels and their reports
  uses: @ACTION_DOWNLOAD_ARTIFACT@
  with:
    pattern: wheel-*
    merge-multiple: true
    path: dist
""",
}
"""Steps that several jobs have."""

_JOBS = {
    "PLAN_JOB": """\
plan:
  name: Plan
  runs-on: @LINUX_RUNNER@
  timeout-minutes: 10
  permissions:
    contents: read # to check out
  outputs:
    cubins: ${{ steps.matrix.outputs.cubins }}
    native: ${{ steps.matrix.outputs.native }}
    container: ${{ steps.matrix.outputs.container }}
  steps:
    @CHECKOUT_HISTORY@
    @PYTHON@
    - name: Expand the selection into jobs
      id: matrix
      env:
        SELECTION: ${{ inputs.selection }}
        SINCE: ${{ inputs.since }}
        SHARD: ${{ inputs.shard }}
      run: nox -s ci_matrix -- --github --since "$SINCE" --shard "$SHARD" $SELECTION
""",
    "CUBINS_JOB": """\
cubins:
  name: ${{ matrix.name }}
  needs: [plan]
  runs-on: @LINUX_RUNNER@
  timeout-minutes: 60
  permissions:
    contents: read # to check out
  strategy:
    fail-fast: false
    matrix: ${{ fromJSON(needs.plan.outputs.cubins) }}
  steps:
    @CHECKOUT@
    @PYTHON@
    - name: Compile the kernels
      env:
        ARCH: ${{ matrix.arch }}
        SELECTION: ${{ matrix.selection }}
      run: nox -s cubins -- --arch "$ARCH" $SELECTION
    - name: Hand on the cubins
      uses: @ACTION_UPLOAD_ARTIFACT@
      with:
        name: ${{ matrix.name }}
        path: .cache/buildtool/*/cubin
        include-hidden-files: true
        if-no-files-found: error
        retention-days: 3
""",
}
"""Jobs that several workflows have."""
