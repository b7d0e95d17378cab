"""report.html in a real browser: sorted and filtered with mouse and keyboard, nothing fetched, no error."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.chrome.service import Service

from program import PROGRAM, ROOT

failures = 0


def check(what, seen, expected):
    global failures
    failures += seen != expected
    print(("ok     " if seen == expected else "FAILED ") + what, "" if seen == expected else f"{seen} != {expected}")


with tempfile.TemporaryDirectory() as scratch:
    scratch = Path(scratch)
    shutil.copytree(ROOT / "testing_dataset", scratch / "scans")
    (scratch / "scans" / "<b>bad & broken.nii").write_bytes(b"no scan")
    subprocess.run([PROGRAM, "predict", scratch / "scans", "--output", scratch / "out", "--quiet", "--models",
                    ROOT / "saved_models"], capture_output=True)
    # The page alone must be enough.
    page = scratch / "alone" / "report.html"
    page.parent.mkdir()
    shutil.copy(scratch / "out" / "report.html", page)

    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1000"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        browser.get(page.as_uri())
        rows = lambda: [row for row in browser.find_elements(By.CSS_SELECTOR, "tbody tr") if row.is_displayed()]
        names = lambda: [Path(row.find_element(By.TAG_NAME, "th").text).name for row in rows()]
        phantoms = sorted(path.name for path in (ROOT / "testing_dataset").glob("*.nii.gz"))
        bad = "<b>bad & broken.nii"
        check("the broken scan is first, its name as it is", names()[0], bad)
        check("its error is shown", "no NIfTI file" in rows()[0].text or "incomplete" in rows()[0].text, True)
        check("all scans are there", sorted(names()), sorted([bad, *phantoms]))
        pictures = browser.find_elements(By.CSS_SELECTOR, "tbody img")
        check("pictures are in the page",
              [browser.execute_script("return arguments[0].naturalHeight > 50", picture) for picture in pictures],
              [True] * len(phantoms))

        browser.find_elements(By.CSS_SELECTOR, "thead button")[0].click()
        check("a click sorts by name", names(), sorted([bad, *phantoms], key=lambda name: name.lstrip("<")))
        # The keyboard alone: from the top, Tab to the filter, then to the second heading, Enter twice.
        browser.refresh()
        browser.switch_to.active_element.send_keys(Keys.TAB)
        check("the filter is reached first", browser.switch_to.active_element.get_attribute("id"), "filter")
        for _ in range(3):
            browser.switch_to.active_element.send_keys(Keys.TAB)
        heading = browser.switch_to.active_element
        check("headings are reached by Tab", heading.text.split()[0], "Found")
        heading.send_keys(Keys.ENTER)
        counts = lambda: [row.find_elements(By.TAG_NAME, "td")[2].text for row in rows()]
        up = counts()
        check("Enter sorts upwards, what failed last", up, sorted(filter(None, up), key=int) + [""])
        heading.send_keys(Keys.ENTER)
        check("again downwards", counts(), sorted(filter(None, up), key=int, reverse=True) + [""])
        check("and says so", heading.find_element(By.XPATH, "..").get_attribute("aria-sort"), "descending")
        browser.find_element(By.TAG_NAME, "body").send_keys("/")
        browser.switch_to.active_element.send_keys("BROKEN")
        check("a slash goes to the filter, which ignores case", names(), [bad])
        check("the number shown is told", browser.find_element(By.ID, "shown").text, f"1 of {len(phantoms) + 1}")
        browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        check("Escape shows all again", len(rows()), len(phantoms) + 1)
        check("no error and nothing fetched", browser.get_log("browser"), [])
        if len(sys.argv) > 1:
            browser.save_screenshot(sys.argv[1])
    finally:
        browser.quit()

print(f"{failures} differ")
sys.exit(failures > 0)
