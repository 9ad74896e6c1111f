"""A Chromium without a window, for what only a browser can show."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

PROGRAM = shutil.which("google-chrome") or shutil.which("chromium")
OPTIONS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium on this machine")


@contextmanager
def launched() -> Iterator[Browser]:
    sandbox = os.geteuid() != 0  # which root cannot have
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, chromium_sandbox=sandbox, args=OPTIONS)
        yield browser
        browser.close()
