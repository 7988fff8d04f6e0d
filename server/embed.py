#!/usr/bin/python3
"""Turn server/web/ and server/api/openapi.yaml into a C file (build time).

usage: embed.py WEB_DIR OPENAPI_YAML > assets.c

The page becomes one HTML file: style.css and the scripts take the places of
their link and script elements, and the Content-Security-Policy allows exactly
these by their SHA-256, so no markup that might ever slip into the page can run.
The contract becomes JSON, and the page /docs.

SPDX-License-Identifier: MIT
"""
import base64
import hashlib
import json
import os
import sys

import yaml

sys.dont_write_bytecode = True
import docs_page  # noqa: E402


def sha(text):
    digest = hashlib.sha256(text.encode()).digest()
    return "'sha256-" + base64.b64encode(digest).decode() + "'"


SCRIPTS = "translate.js", "app.js"


def read(web, name):
    with open(os.path.join(web, name), encoding="utf-8") as f:
        return f.read()


def policy(css, scripts=()):
    """What a page of these parts may do: a Content-Security-Policy."""
    return ("default-src 'none'; " +
            (f"script-src {' '.join(map(sha, scripts))}; connect-src 'self'; "
             if scripts else "") +
            f"style-src {sha(css)}; img-src 'self'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'")


def page(web):
    html, css = read(web, "index.html"), read(web, "style.css")
    scripts = [read(web, name) for name in SCRIPTS]
    marks = [(f'<script src="{name}"></script>', "script", js)
             for name, js in zip(SCRIPTS, scripts)]
    for mark, tag, text in [
            ('<link rel="stylesheet" href="style.css">', "style", css), *marks]:
        if html.count(mark) != 1:
            sys.exit(f"index.html: {mark} must stand there once")
        html = html.replace(mark, f"<{tag}>{text}</{tag}>")
    return html.encode(), policy(css, scripts)


def c_bytes(name, data):
    rows = [",".join(str(b) for b in data[i:i + 20])
            for i in range(0, len(data), 20)]
    return (f"const unsigned char {name}[] = {{\n" + ",\n".join(rows) +
            f"}};\nconst size_t {name}_len = sizeof {name};\n")


def main():
    web, contract = sys.argv[1:3]
    html, csp = page(web)
    with open(contract, encoding="utf-8") as f:
        api = yaml.safe_load(f)
    css = read(web, "style.css") + read(web, "docs.css")
    print('/* Made by server/embed.py. */\n#include "server/assets.h"\n')
    print(c_bytes("asset_page", html))
    print(f'const char asset_page_csp[] = "{csp}";\n')
    print(c_bytes("asset_docs", docs_page.render(api, css).encode()))
    print(f'const char asset_docs_csp[] = "{policy(css)}";\n')
    print(c_bytes("asset_icon", read(web, "icon.svg").encode()))
    print(c_bytes("asset_openapi", json.dumps(
        api, ensure_ascii=False, separators=(",", ":")).encode()))


main()
