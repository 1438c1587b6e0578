"""A pytest plugin: one line a test, written to descriptor 3, because pytest captures the others."""

import os

worst = {}
out = os.fdopen(3, "w")


def reason(report):
    text = str(report.longrepr or "")
    lines = [line[2:].strip() for line in text.splitlines() if line.startswith("E ")]
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    return (lines or text.splitlines()[-1:] or [""])[0][:200]


def pytest_runtest_logreport(report):
    name = report.nodeid.replace(" ", "_").removeprefix("test/integration/")
    if report.failed or (report.skipped and name not in worst):
        worst.setdefault(name, ("FAIL" if report.failed else "skip", reason(report)))
    if report.when == "teardown":
        word, why = worst.get(name, ("ok", ""))
        print(f"{word} {name} {why}".rstrip(), file=out, flush=True)
