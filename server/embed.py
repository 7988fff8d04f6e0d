#!/usr/bin/python3
"""Turn server/web/ and server/api/openapi.yaml into a C file (build time).

usage: embed.py WEB_DIR OPENAPI_YAML > assets.c

The page becomes one HTML file: style.css and the scripts take the places of
their link and script elements, and the Content-Security-Policy allows exactly
these by their SHA-256, so no markup that might ever slip into the page can run.
The contract becomes JSON.

SPDX-License-Identifier: MIT
"""
import base64
import hashlib
import json
import os
import sys

import yaml


def sha(text):
    digest = hashlib.sha256(text.encode()).digest()
    return "'sha256-" + base64.b64encode(digest).decode() + "'"


SCRIPTS = "translate.js", "app.js"


def page(web):
    def read(name):
        with open(os.path.join(web, name), encoding="utf-8") as f:
            return f.read()
    html, css = read("index.html"), read("style.css")
    scripts = [read(name) for name in SCRIPTS]
    marks = [(f'<script src="{name}"></script>', "script", js)
             for name, js in zip(SCRIPTS, scripts)]
    for mark, tag, text in [
            ('<link rel="stylesheet" href="style.css">', "style", css), *marks]:
        if html.count(mark) != 1:
            sys.exit(f"index.html: {mark} must stand there once")
        html = html.replace(mark, f"<{tag}>{text}</{tag}>")
    csp = ("default-src 'none'; script-src " +
           " ".join(map(sha, scripts)) + "; style-src " +
           sha(css) + "; connect-src 'self'; base-uri 'none'; "
           "form-action 'none'; frame-ancestors 'none'")
    return html.encode(), csp


def c_bytes(name, data):
    rows = [",".join(str(b) for b in data[i:i + 20])
            for i in range(0, len(data), 20)]
    return (f"const unsigned char {name}[] = {{\n" + ",\n".join(rows) +
            f"}};\nconst size_t {name}_len = sizeof {name};\n")


def main():
    web, contract = sys.argv[1:3]
    html, csp = page(web)
    with open(contract, encoding="utf-8") as f:
        api = json.dumps(yaml.safe_load(f), ensure_ascii=False,
                         separators=(",", ":")).encode()
    print('/* Made by server/embed.py. */\n#include "server/assets.h"\n')
    print(c_bytes("asset_page", html))
    print(f'const char asset_page_csp[] = "{csp}";\n')
    print(c_bytes("asset_openapi", api))


main()
