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

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import Seqd, Skip, TOP, WAIT_S, wait  # noqa: E402

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")


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
                f"error_log {folder}/nginx.log;\nevents {{}}\nhttp {{\n"
                f"access_log off;\n{paths}{site}}}\n")


def ask(folder, method, path, host, origin=None):
    """Status and text of what a browser asks of https://HOST/."""
    conn = http.client.HTTPConnection("localhost")
    conn.sock = socket.socket(socket.AF_UNIX)
    conn.sock.settimeout(WAIT_S)
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


def test_proxy_nginx_as_the_page_says():
    if not NGINX:
        raise Skip("no nginx")
    name, site = read_page()
    with Seqd("--host-name", name, "--log-level", "warn") as s:
        folder = s.folder.name
        write_site(site, s.port, folder)
        proxy = subprocess.Popen([NGINX, "-p", folder, "-e",
                                  folder + "/nginx.log", "-c",
                                  folder + "/nginx.conf"])
        try:
            wait(lambda: proxy.poll() is None and
                 os.path.exists(folder + "/front"), "no proxy")
            look(folder, name)
        finally:
            proxy.terminate()
            assert proxy.wait(timeout=WAIT_S) == 0
        assert s.stop() == 0


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
