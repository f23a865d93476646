"""The pages in a real browser, Chromium by Selenium: a table sorts, an example opens, two runs are compared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_folders import CLASSES, write_run

from hiast.report.compare import compare
from hiast.report.comparison_page import comparison_page
from hiast.report.write import write_report

selenium = pytest.importorskip("selenium", reason="Selenium is not installed: pip install selenium")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        (CHROMIUM is None or DRIVER is None) and "HIAST_NEEDS_BROWSER" not in os.environ,
        reason="Chromium and its driver are not installed: apt-get install chromium chromium-driver",
    ),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    one, other = write_run(folder / "one"), write_run(folder / "other", seed=2, lr=5e-4, shift=0.05)
    write_report(one)
    (folder / "comparison.html").write_text(comparison_page(compare([one, other])))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, pages: Path) -> Any:
    """Opens a page at a width; no page may complain or reach out."""

    def open_page(name: str, width: int = 1280) -> Any:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get((pages / name).as_uri())
        return browser

    yield open_page
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def column(table: Any, number: int) -> list[str]:
    return [cell.text for cell in table.find_elements(By.CSS_SELECTOR, f"tbody td:nth-child({number})")]


def test_a_click_on_a_head_sorts_a_table(opened: Any) -> None:
    table = opened("one/report.html").find_element(By.CSS_SELECTOR, "#classes table")
    assert column(table, 1) == list(CLASSES.names)
    head = table.find_element(By.XPATH, ".//th[contains(., 'self_training 2')]")
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column(table, 4) == ["90.0", "70.0", "40.0", "0.0"]
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(table, 4) == ["0.0", "40.0", "70.0", "90.0"]
    table.find_element(By.XPATH, ".//th[contains(., 'class')]//button").click()
    assert column(table, 1) == sorted(CLASSES.names, key=str.lower)
    assert head.get_attribute("aria-sort") is None


def test_cells_without_a_value_stay_last(opened: Any) -> None:
    page = opened("one/report.html")
    table = page.find_element(By.CSS_SELECTOR, "#selection table")
    button = table.find_element(By.XPATH, ".//th[contains(., 'rank')]//button")
    for _ in range(2):
        button.click()
        ranks = column(table, 3)
        assert all(ranks[: len([rank for rank in ranks if rank])])


def test_an_example_opens_and_names_the_class_under_the_pointer(opened: Any) -> None:
    page = opened("one/report.html")
    dialog = page.find_element(By.TAG_NAME, "dialog")
    assert not dialog.is_displayed()
    page.find_element(By.CSS_SELECTOR, "#images .example").click()
    assert dialog.is_displayed() and "town/<1>: 60.0 % wrong" in dialog.text
    assert [figure.text for figure in dialog.find_elements(By.TAG_NAME, "figcaption")] == [
        "image",
        "prediction",
        "label",
    ]
    label = dialog.find_elements(By.TAG_NAME, "img")[2]
    # The second of 16 columns is class 1.
    width, height = label.size["width"], label.size["height"]
    ActionChains(page).move_to_element_with_offset(
        label, int(width * 1.5 / 16 - width / 2), int(height * 0.5 / 8 - height / 2)
    ).perform()
    assert dialog.find_element(By.CLASS_NAME, "under").text == f"label: {CLASSES.names[1]}"
    dialog.find_element(By.TAG_NAME, "button").click()
    assert not dialog.is_displayed()
    page.find_element(By.CSS_SELECTOR, "#labels .example").click()
    captions = [figure.text for figure in dialog.find_elements(By.TAG_NAME, "figcaption")]
    assert captions == [
        "image",
        "pseudo-label",
        "prediction before self_training 2",
        "prediction after self_training 2",
    ]


def test_values_stand_beside_the_pointer(opened: Any) -> None:
    page = opened("one/report.html")
    chart = page.find_element(By.CSS_SELECTOR, "#scores .chart")
    tip = chart.find_element(By.CLASS_NAME, "tip")
    assert not tip.is_displayed()
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    ActionChains(page).move_to_element_with_offset(chart, chart.size["width"] // 2 - 20, 0).perform()
    assert tip.is_displayed() and "step 12, self_training 2" in tip.text
    assert "validated network: 50.00" in tip.text


@pytest.mark.parametrize("name", ["one/report.html", "comparison.html"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_window(opened: Any, name: str, width: int) -> None:
    page = opened(name, width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_two_runs_are_compared(opened: Any) -> None:
    page = opened("comparison.html")
    assert page.find_element(By.TAG_NAME, "h1").text == "Comparison of 2 runs"
    table = page.find_element(By.CSS_SELECTOR, "#groups table")
    assert column(table, 1) == ["two_worlds", "lr=0.0005"] and column(table, 3) == ["50.0", "55.0"]
    table.find_element(By.XPATH, ".//th[contains(., 'mIoU-4')]//button").click()
    assert column(table, 3) == ["55.0", "50.0"]
    assert "source_only.module.optimizer.lr" in page.find_element(By.ID, "settings").text
