#!/usr/bin/env python3
"""seqd behind nginx, as docs/serving.md sets it up: the page and its streams
come through under the public name, other origins and what is for operators do
not. TLS apart the configuration is the page's own. Without nginx it is skipped.
Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SEQD = os.path.abspath(os.environ.get("SEQD", TOP + "/build/release/seqd"))
NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
LIMIT = 30  # seconds that anything here may take


def wait(what, child):
    end = time.time() + LIMIT
    while not what():
        assert child.poll() is None and time.time() < end
        time.sleep(0.01)


def read_page():
    """The public name and the configuration of docs/serving.md."""
    with open(TOP + "/docs/serving.md", encoding="utf-8") as f:
        text = f.read()
    name = re.search(r"with `seqd --host-name (\S+)`:", text)[1]
    return name, re.search(r"```nginx\n(.*?)```", text, re.S)[1]


def write_site(site, port, folder):
    """The configuration with ports and folders of this test."""
    site = re.sub(r"ssl_certificate.*", "", site)
    for old, new in (("127.0.0.1:8080", f"127.0.0.1:{port}"),
                     ("listen 443 ssl", f"listen unix:{folder}/front")):
        assert site.count(old) == 1, old
        site = site.replace(old, new)
    paths = "".join(f"{kind}_temp_path {folder};\n" for kind in (
        "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(folder + "/nginx.conf", "w") as f:
        f.write(f"daemon off;\npid {folder}/pid;\nuser root;\n"  # if it is
                f"error_log {folder}/log;\nevents {{}}\nhttp {{\n"
                f"access_log off;\n{paths}{site}}}\n")


def ask(folder, method, path, host, origin=None):
    """Status and text of what a browser asks of https://HOST/."""
    conn = http.client.HTTPConnection("localhost")
    conn.sock = socket.socket(socket.AF_UNIX)
    conn.sock.settimeout(LIMIT)
    conn.sock.connect(folder + "/front")
    heads = {"Host": host, "Content-Type": "application/json"}
    if origin:
        heads["Origin"] = origin
    body = json.dumps({"input": "Once upon a time", "max_tokens": 4,
                       "stream": True}) if method == "POST" else None
    conn.request(method, path, body, heads)
    a = conn.getresponse()
    text = a.read().decode()
    conn.close()
    return a.status, text


def look(folder, host):
    for method, path, origin, want in (
            ("GET", "/", None, 200), ("GET", "/v1/models", None, 200),
            ("GET", "/readyz", None, 200),
            ("POST", "/generate", "https://" + host, 200),
            ("POST", "/generate", "https://other.example", 403),
            ("GET", "/info", None, 404), ("GET", "/metrics", None, 404)):
        status, text = ask(folder, method, path, host, origin)
        assert status == want, (method, path, origin, status, text[:500])
        if method == "POST" and want == 200:
            assert text.endswith("data: [DONE]\n\n"), text
    status, text = ask(folder, "GET", "/", "rebound.example")
    assert status == 403 and "host_not_allowed" in text, (status, text[:500])


def test_proxy_nginx_as_the_page_says(folder):
    name, site = read_page()
    port = folder + "/port"
    seqd = subprocess.Popen([SEQD, "--host-name", name, "--port", "0",
                             "--port-file", port, "--log-level", "warn"])
    proxy = None
    try:
        wait(lambda: os.path.exists(port), seqd)
        with open(port) as f:
            write_site(site, int(f.read()), folder)
        proxy = subprocess.Popen([NGINX, "-p", folder, "-e", folder + "/log",
                                  "-c", folder + "/nginx.conf"])
        wait(lambda: os.path.exists(folder + "/front"), proxy)
        wait(lambda: ask(folder, "GET", "/readyz", name)[0] != 503, proxy)
        look(folder, name)
    finally:
        ran = [child for child in (proxy, seqd) if child]
        for child in ran:
            child.terminate()
        assert [child.wait(timeout=LIMIT) for child in ran] == [0] * len(ran)


def main():
    name = "test_proxy_nginx_as_the_page_says"
    if not NGINX:
        print("skipped: no nginx\n[  SKIPPED ] proxy: 1 test(s), listed below:"
              f"\n[  SKIPPED ] {name}")
        return 0
    print(f"[ RUN      ] {name}", flush=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            globals()[name](folder)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"[  FAILED  ] proxy: 1 test(s), listed below:\n"
              f"[  FAILED  ] {name}")
        return 1
    print(f"[       OK ] {name}\n[  PASSED  ] 1 test(s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
