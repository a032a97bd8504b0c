"""The selector page in a real Chromium, as a file: choices, links, pasted texts, keyboard, narrow and dark screens."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildtool.plan.cells import Cell
from buildtool.prove.package import load_causes, load_dispatch
from buildtool.publish.dist import read_dist
from buildtool.publish.doctor import advise, offer_of_cell, read_machine
from buildtool.publish.index import MANIFEST, Hosting, render_indexes, render_manifest
from buildtool.publish.page import render_page
from buildtool.publish.site import write_site
from tests.unit.publish.fake_dist import cells_of, write_dist

pytestmark = pytest.mark.integration
webdriver: Any = pytest.importorskip("selenium.webdriver", reason="pip install selenium")
if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
    pytest.skip("needs chromium and chromedriver", allow_module_level=True)

DOCTOR = {"python": "3.12.1", "platform": "Linux x86_64", "torch": "2.9.1+cu128", "torch_cuda": "12.8", "wheel": None}
TEXTS = {
    "cxx11-abi": "ImportError: x.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationESsE",
    "no-kernel": "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "dll-missing": "ImportError: DLL load failed while importing _qattn: The specified module could not be found.",
    "glibc": "ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found (required by x.so)",
    "torch-replaced": "Attempting uninstall: torch\n  Found existing installation: torch 2.8.0",
}


@pytest.fixture(scope="module")
def page(root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
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
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def opened(browser: Any, page: str, fragment: str = "") -> Any:
    browser.get("about:blank")
    browser.get(page + fragment)
    return browser


def text(browser: Any, selector: str) -> str:
    return str(browser.find_element("css selector", selector).text)


def choose(browser: Any, axis: str, value: str) -> None:
    script = (
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))"
    )
    browser.execute_script(script, axis, value)


def test_a_choice_gives_the_commands_and_the_link_keeps_it(browser: Any, page: str) -> None:
    opened(browser, page)
    choose(browser, "cuda", "12.8")
    choose(browser, "torch", "2.8")
    pip = "pip install sageattention --index-url https://example.org/wheels/cu128/torch2.8/"
    assert text(browser, "#pip-command") == pip
    uv = "uv pip install sageattention --default-index https://example.org/wheels/cu128/torch2.8/"
    assert text(browser, "#uv-command") == uv
    assert "sageattention-2.2.0-280.128-cp312-cp312-linux_x86_64.whl" in text(browser, "#answer")
    shared = browser.current_url
    opened(browser, page, "#" + shared.partition("#")[2])
    assert text(browser, "#pip-command") == pip


def test_no_such_wheel_names_the_nearest(browser: Any, page: str) -> None:
    opened(browser, page, "#torch=2.8&cuda=13.0&python=3.12&system=Linux+x86_64")
    assert "no wheel for sageattention, PyTorch 2.8, CUDA 13.0" in text(browser, "#none")
    assert "CUDA 12.8 instead of 13.0" in text(browser, "#answer")
    browser.find_element("id", "nearest").click()
    assert "cu128/torch2.8" in text(browser, "#pip-command")


def test_the_doctors_output_makes_the_choice(browser: Any, page: str) -> None:
    opened(browser, page, "#torch=2.7")
    browser.find_element("id", "paste").send_keys(json.dumps(DOCTOR))
    assert text(browser, "#doctor") == "The choice above is your machine."
    assert "cu128/torch2.9" in text(browser, "#pip-command")
    browser.find_element("id", "paste").clear()
    browser.find_element("id", "paste").send_keys(json.dumps({**DOCTOR, "torch": "2.4.0"}))
    assert "PyTorch 2.4" in text(browser, "#doctor")


GPUS = (None, ("Tesla T4", "7.5"), ("A100", "8.0"), ("H200", "9.0"), ("B200", "10.0"), ("RTX 5090", "12.0"))


def test_the_page_and_the_doctor_choose_alike(
    browser: Any, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cells = cells_of(root, "set=all", "package=sageattention", "torch=2.8,2.11", "python=3.12")
    opened(browser, written(cells, root, tmp_path_factory.mktemp("all")))
    offers, dispatch = tuple(map(offer_of_cell, cells)), load_dispatch(root)
    choices = set()
    for torch, cuda in (("2.8.0+cu126", "12.6"), ("2.8.0+cu128", "12.8"), ("2.11.0", "13.0"), ("2.11.0", "of PyPI")):
        for driver in ("", "520.61.05", "570.86.10", "580.65.06"):
            for gpu in GPUS:
                gpus = [{"name": gpu[0], "capability": gpu[1]}] if gpu else []
                report = {**DOCTOR, "torch": torch, "torch_cuda": cuda, "driver": driver, "gpus": gpus}
                advice = advise(read_machine(report), offers, "sageattention", dispatch)
                browser.execute_script(
                    "const p = document.getElementById('paste'); p.value = arguments[0]; "
                    "p.dispatchEvent(new Event('input'))",
                    json.dumps(report),
                )
                seen = text(browser, "#doctor")
                assert (seen == "The choice above is your machine.") == bool(advice.wheel), report
                if advice.wheel:
                    assert advice.wheel in text(browser, "#answer"), report
                else:
                    reason = advice.reasons[0].replace("torch", "PyTorch")
                    assert seen.rstrip(".").lower() in reason.lower(), report
                choices.add(advice.wheel)
    assert len(choices) > 4


@pytest.mark.parametrize("code", TEXTS)
def test_an_error_text_is_answered(browser: Any, page: str, code: str) -> None:
    opened(browser, page)
    browser.execute_script(
        "const p = document.getElementById('paste'); p.value = arguments[0]; p.dispatchEvent(new Event('input'))",
        TEXTS[code],
    )
    assert browser.find_element("id", "cause").get_attribute("data-code") == code
    assert text(browser, "#cure").startswith("Cure: ")


def test_every_pattern_means_in_the_browser_what_it_means_in_python(browser: Any, page: str, root: Path) -> None:
    opened(browser, page)
    causes = load_causes(root)
    samples = [*TEXTS.values(), "nothing known", "version `GLIBCXX_3.4.32' not found", "No module named 'torch'"]
    script = "return arguments[0].map(p => arguments[1].map(t => new RegExp(p, 'is').test(t)))"
    seen = browser.execute_script(script, [cause.pattern for cause in causes], samples)
    flags = re.IGNORECASE | re.DOTALL
    assert seen == [[bool(re.search(cause.pattern, sample, flags)) for sample in samples] for cause in causes]


def test_keyboard_alone_reaches_everything(browser: Any, page: str) -> None:
    opened(browser, page)
    reached = []
    body = browser.find_element("css selector", "body")
    body.send_keys("\ue004")
    for _ in range(12):
        active = browser.switch_to.active_element
        reached.append(active.get_attribute("id") or active.get_attribute("aria-label") or active.tag_name)
        active.send_keys("\ue004")
    choices = ["package", "torch", "cuda", "python", "system"]
    assert reached[:8] == [*choices, "Copy the pip command", "Copy the uv command", "paste"]
    assert "Table of all wheels" in reached


def test_every_control_has_a_name_and_the_table_has_headers(browser: Any, page: str) -> None:
    opened(browser, page)
    for element in browser.find_elements("css selector", "select, textarea, button, a, [role=region]"):
        assert element.accessible_name
    assert {cell.get_attribute("scope") for cell in browser.find_elements("css selector", "th")} == {"col", "row"}
    assert browser.find_element("id", "answer").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling(browser: Any, page: str, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened(browser, page)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2, 1.4.3) of two ``rgb(r, g, b)`` colours."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser: Any, page: str, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    opened(browser, page)
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (contrast(paper, "rgb(0, 0, 0)") < 3) == (scheme == "dark")
    for selector in ("p", ".soft", "#answer .good", "a", "caption", "dt"):
        element = browser.find_element("css selector", selector)
        assert contrast(element.value_of_css_property("color").replace("rgba", "rgb"), paper) >= 4.5, selector


def test_the_page_asks_nobody_and_complains_of_nothing(browser: Any, page: str) -> None:
    opened(browser, page)
    entries = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert entries == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
