"""The selector page in a real Chromium, as a file: choices, links, pasted texts, keyboard, narrow and dark screens."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from buildtool.plan.cells import Cell
from buildtool.prove.package import load_causes, load_dispatch
from buildtool.publish.dist import read_dist
from buildtool.publish.doctor import advise, offer_of_cell, read_machine
from buildtool.publish.index import MANIFEST, Hosting, render_indexes, render_manifest
from buildtool.publish.page import render_page
from buildtool.publish.site import write_site
from tests.unit.publish.fake_dist import cells_of, write_dist

pytest.importorskip("playwright", reason="pip install playwright")
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = pytest.mark.integration
CHROMIUM = shutil.which("chromium") or pytest.skip("needs chromium", allow_module_level=True)

DOCTOR = {"python": "3.12.1", "platform": "Linux x86_64", "torch": "2.9.1+cu128", "torch_cuda": "12.8", "wheel": None}
TEXTS = {
    "cxx11-abi": "ImportError: x.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationESsE",
    "no-kernel": "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "dll-missing": "ImportError: DLL load failed while importing _qattn: The specified module could not be found.",
    "glibc": "ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found (required by x.so)",
    "torch-replaced": "Attempting uninstall: torch\n  Found existing installation: torch 2.8.0",
}


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    release = cells_of(root, "set=release", "package=sageattention")
    cells = release + cells_of(root, "torch=2.11", "cuda=13.0", "python=3.12", "package=sageattention")
    return written(cells, root, tmp_path_factory.mktemp("page"))


def written(cells: tuple[Cell, ...], root: Path, folder: Path) -> str:
    wheels = read_dist(write_dist(cells, folder / "dist"))
    site = folder / "site"
    manifest = render_manifest(wheels, Hosting())
    files = {
        **render_indexes(wheels, Hosting()),
        MANIFEST: manifest,
        "index.html": render_page(manifest, load_causes(root), "https://example.org/wheels/").encode(),
    }
    write_site(site, files, wheels)
    return (site / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM) as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A new window that shares nothing with the one before."""
    with browser.new_context() as context:
        yield context.new_page()


def test_a_choice_gives_the_commands_and_the_link_keeps_it(page: Page, site: str) -> None:
    page.goto(site)
    page.select_option("#cuda", "12.8")
    page.select_option("#torch", "2.8")
    pip = "pip install sageattention --index-url https://example.org/wheels/cu128/torch2.8/"
    expect(page.locator("#pip-command")).to_have_text(pip)
    uv = "uv pip install sageattention --default-index https://example.org/wheels/cu128/torch2.8/"
    expect(page.locator("#uv-command")).to_have_text(uv)
    expect(page.locator("#answer")).to_contain_text("sageattention-2.2.0-280.128-cp312-cp312-linux_x86_64.whl")
    expect(page).to_have_url(re.compile("torch=2.8&cuda=12.8"))
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#pip-command")).to_have_text(pip)


def test_no_such_wheel_names_the_nearest(page: Page, site: str) -> None:
    page.goto(f"{site}#torch=2.8&cuda=13.0&python=3.12&system=Linux+x86_64")
    expect(page.locator("#none")).to_contain_text("no wheel for sageattention, PyTorch 2.8, CUDA 13.0")
    expect(page.locator("#answer")).to_contain_text("CUDA 12.8 instead of 13.0")
    page.click("#nearest")
    expect(page.locator("#pip-command")).to_contain_text("cu128/torch2.8")


def test_the_doctors_output_makes_the_choice(page: Page, site: str) -> None:
    page.goto(f"{site}#torch=2.7")
    page.locator("#paste").press_sequentially(json.dumps(DOCTOR))
    expect(page.locator("#doctor")).to_have_text("The choice above is your machine.")
    expect(page.locator("#pip-command")).to_contain_text("cu128/torch2.9")
    page.fill("#paste", json.dumps({**DOCTOR, "torch": "2.4.0"}))
    expect(page.locator("#doctor")).to_contain_text("PyTorch 2.4")


GPUS = (None, ("Tesla T4", "7.5"), ("A100", "8.0"), ("H200", "9.0"), ("B200", "10.0"), ("RTX 5090", "12.0"))


def test_the_page_and_the_doctor_choose_alike(page: Page, root: Path, tmp_path: Path) -> None:
    cells = cells_of(root, "set=all", "package=sageattention", "torch=2.8,2.11", "python=3.12")
    page.goto(written(cells, root, tmp_path))
    offers, dispatch = tuple(map(offer_of_cell, cells)), load_dispatch(root)
    choices = set()
    for torch, cuda in (("2.8.0+cu126", "12.6"), ("2.8.0+cu128", "12.8"), ("2.11.0", "13.0"), ("2.11.0", "of PyPI")):
        for driver in ("", "520.61.05", "570.86.10", "580.65.06"):
            for gpu in GPUS:
                gpus = [{"name": gpu[0], "capability": gpu[1]}] if gpu else []
                report = {**DOCTOR, "torch": torch, "torch_cuda": cuda, "driver": driver, "gpus": gpus}
                advice = advise(read_machine(report), offers, "sageattention", dispatch)
                page.fill("#paste", json.dumps(report))
                seen = page.inner_text("#doctor")
                assert (seen == "The choice above is your machine.") == bool(advice.wheel), report
                if advice.wheel:
                    assert advice.wheel in page.inner_text("#answer"), report
                else:
                    reason = advice.reasons[0].replace("torch", "PyTorch")
                    assert seen.rstrip(".").lower() in reason.lower(), report
                choices.add(advice.wheel)
    assert len(choices) > 4


@pytest.mark.parametrize("code", TEXTS)
def test_an_error_text_is_answered(page: Page, site: str, code: str) -> None:
    page.goto(site)
    page.fill("#paste", TEXTS[code])
    expect(page.locator("#cause")).to_have_attribute("data-code", code)
    expect(page.locator("#cure")).to_have_text(re.compile("^Cure: "))


def test_every_pattern_means_in_the_browser_what_it_means_in_python(page: Page, site: str, root: Path) -> None:
    page.goto(site)
    causes = load_causes(root)
    samples = [*TEXTS.values(), "nothing known", "version `GLIBCXX_3.4.32' not found", "No module named 'torch'"]
    script = "([patterns, samples]) => patterns.map(p => samples.map(t => new RegExp(p, 'is').test(t)))"
    seen = page.evaluate(script, [[cause.pattern for cause in causes], samples])
    flags = re.IGNORECASE | re.DOTALL
    assert seen == [[bool(re.search(cause.pattern, sample, flags)) for sample in samples] for cause in causes]


def test_keyboard_alone_reaches_everything(page: Page, site: str) -> None:
    page.goto(site)
    reached = []
    focused = "(({id, ariaLabel, tagName}) => id || ariaLabel || tagName)(document.activeElement)"
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
    choices = ["package", "torch", "cuda", "python", "system"]
    assert reached[:8] == [*choices, "Copy the pip command", "Copy the uv command", "paste"]
    assert "Table of all wheels" in reached


def test_every_control_has_a_name_and_the_table_has_headers(page: Page, site: str) -> None:
    page.goto(site)
    controls = page.locator("select, textarea, button, a, [role=region]").all()
    assert len(controls) > 10
    for control in controls:
        expect(control).to_have_accessible_name(re.compile(r"\w"))
    assert {cell.get_attribute("scope") for cell in page.locator("th").all()} == {"col", "row"}
    expect(page.locator("#answer")).to_have_attribute("aria-live", "polite")


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling(browser: Browser, site: str, width: int) -> None:
    with browser.new_page(viewport={"width": width, "height": 800}, is_mobile=True) as phone:
        phone.goto(site)
        assert phone.evaluate("document.documentElement.scrollWidth") <= width


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2, 1.4.3) of two ``rgb(r, g, b)`` colours."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(page: Page, site: str, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(site)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (contrast(paper, "rgb(0, 0, 0)") < 3) == (scheme == "dark")
    for selector in ("p", ".soft", "#answer .good", "a", "caption", "dt"):
        ink = page.locator(selector).first.evaluate("element => getComputedStyle(element).color")
        assert contrast(ink, paper) >= 4.5, selector


def test_the_page_asks_nobody_and_complains_of_nothing(page: Page, site: str) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(error.message))
    page.goto(site, wait_until="networkidle")
    assert (asked, complaints) == ([site], [])
