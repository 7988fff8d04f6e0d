"""Chromium without a window, driven through a pipe (the DevTools protocol), and
a tab of it that shows the page of seqd; CHROMIUM is None where there is none.
With PAGE_SHOTS=DIR each tab leaves a picture there, named by its test.

SPDX-License-Identifier: MIT
"""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

from harness import WAIT_S as LIMIT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10)
                for fd in os.pipe() + os.pipe()]

        def wire():  # chromium reads 3 and writes 4
            os.dup2(ends[0], 3)
            os.dup2(ends[3], 4)
        self.child = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--remote-debugging-pipe",
             "--user-data-dir=" + self.folder.name, "--no-first-run",
             "--disable-background-networking", "about:blank"],
            preexec_fn=wire, pass_fds=(3, 4), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(ends[0])
        os.close(ends[3])
        self.write, self.read = ends[1], ends[2]
        self.rest, self.n, self.events = b"", 0, []

    def message(self):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read], [], [], LIMIT)
            part = os.read(self.read, 1 << 20) if ready else b""
            assert part, "the browser says nothing"
            self.rest += part
        one, _, self.rest = self.rest.partition(b"\0")
        return json.loads(one)

    def call(self, method, session=None, **params):
        self.n += 1
        ask = {"id": self.n, "method": method, "params": params}
        if session:
            ask["sessionId"] = session
        os.write(self.write, json.dumps(ask).encode() + b"\0")
        while True:
            got = self.message()
            if got.get("id") == self.n:
                assert "error" not in got, (method, got)
                return got["result"]
            self.events.append(got)

    def close(self):
        try:
            self.call("Browser.close")
            self.child.wait(timeout=LIMIT)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self.child.kill()
            self.child.wait()
        os.close(self.write)
        os.close(self.read)
        shutil.rmtree(self.folder.name, ignore_errors=True)


class Page:
    """A tab at a URL; `with` fails when the page broke a rule of its own."""

    def __init__(self, browser, url, wide=1200, high=900, dark=False,
                 ready="typeof boxes === 'object'"):
        self.b = browser
        self.id = browser.call("Target.createTarget",
                               url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.id,
                                    flatten=True)["sessionId"]
        for domain in "Runtime", "Log", "Page":
            self.call(domain + ".enable")
        self.call("Emulation.setDeviceMetricsOverride", width=wide,
                  height=high, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme",
             "value": "dark" if dark else "light"}])
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && {ready}")

    def call(self, method, **params):
        return self.b.call(method, self.session, **params)

    def js(self, text):
        got = self.call("Runtime.evaluate", expression=text,
                        awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in got, (text, got)
        return got["result"].get("value")

    def wait(self, text, seconds=LIMIT):
        end = time.time() + seconds
        while True:
            try:
                got = self.js(f"!!({text})")
            except AssertionError:  # between two documents
                got = None
            if got:
                return got
            assert time.time() < end, (text, self.js(
                "document.body ? document.body.innerText : ''"))
            time.sleep(0.02)

    def filled(self):
        self.wait("!boxes.generate.button.disabled || "
                  "!boxes.predict.button.disabled")

    def text(self, box):
        return self.js(f"boxes.{box}.out.innerText")

    def ask(self, box, text=None, model=None):
        if model:
            self.js(f"boxes.{box}.model.value = {json.dumps(model)};"
                    f"boxes.{box}.model.dispatchEvent(new Event('change'))")
        if text is not None:
            self.js(f"boxes.{box}.text.value = {json.dumps(text)}")
        self.js(f"boxes.{box}.form.requestSubmit()")

    def done(self, box):
        self.wait(f"boxes.{box}.out.getAttribute('aria-busy') === 'false'")

    def shot(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(base64.b64decode(
                self.call("Page.captureScreenshot")["data"]))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if os.environ.get("PAGE_SHOTS"):
            name = sys._getframe(1).f_code.co_name
            self.shot(os.path.join(os.environ["PAGE_SHOTS"], name + ".png"))
        self.js("0")  # what came before it has been read
        wrong = [e for e in self.b.events
                 if e["method"] == "Runtime.exceptionThrown" or
                 (e["method"] == "Log.entryAdded" and
                  e["params"]["entry"]["level"] == "error" and
                  e["params"]["entry"]["source"] != "network")]
        self.b.events = []
        self.b.call("Target.closeTarget", targetId=self.id)
        assert kind or not wrong, wrong
