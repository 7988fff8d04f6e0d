"""The page /docs: the contract as a person reads it, without a script.

SPDX-License-Identifier: MIT
"""
import html
import json
import re


def text_of(s):
    """A description's words: `code` is code, empty lines part paragraphs."""
    s = html.escape(s.strip(), quote=False)
    s = re.sub(r"`([^`]+)`", r"<code>\1</code>", s)
    return re.sub(r"\s+", " ", s)


def paragraphs(s):
    return "".join(f"<p>{text_of(x)}</p>" for x in re.split(r"\n\s*\n", s)
                   if x.strip())


class Contract:
    """openapi.yaml, with its references followed."""

    def __init__(self, api):
        self.api = api

    def at(self, x):
        """The object that x refers to, with what stands beside the reference."""
        while "$ref" in x:
            there = self.api
            for part in x["$ref"].removeprefix("#/").split("/"):
                there = there[part]
            x = {**there, **{k: v for k, v in x.items() if k != "$ref"}}
        return x

    def kind(self, x):
        """A type in words: "string", "list of integer from 0", "a or b"."""
        x = self.at(x)
        for key in ("oneOf", "anyOf"):
            if key in x:
                kinds = [self.kind(y) for y in x[key]]
                return " or ".join(dict.fromkeys(k for k in kinds if k))
        if "const" in x:
            return json.dumps(x["const"])
        if "enum" in x:
            return " or ".join(json.dumps(v) for v in x["enum"]
                               if v is not None)
        t = x.get("type", "any")
        t = [t] if isinstance(t, str) else t
        t = [y for y in t if y != "null"]
        if not t:
            return ""
        if t == ["array"]:
            return f"list of {self.kind(x.get('items', {}))}"
        out = " or ".join(t)
        low = x.get("minimum", x.get("exclusiveMinimum"))
        if low is not None:
            out += (" over " if "exclusiveMinimum" in x else " from ") + str(low)
        if "maximum" in x:
            out += (" to " if low is not None else " up to ") + str(x["maximum"])
        return out

    def rows(self, schema, path=""):
        """(name, type, what, is it required) of members, those inside too."""
        schema = self.at(schema)
        if "array" in str(schema.get("type")):
            schema = self.at(schema["items"])
            path += "[]"
        for name, x in schema.get("properties", {}).items():
            x = self.at(x)
            inner = self.at(x.get("items", {})) if "items" in x else x
            below = inner.get("properties")
            yield ((path and path + ".") + name,
                   "list" if below and "items" in x else
                   "object" if below else self.kind(x), x,
                   name in schema.get("required", ()))
            if below:
                yield from self.rows(x, (path and path + ".") + name)


def table(head, rows):
    if not rows:
        return ""
    return ("<table><thead><tr>" + "".join(f"<th>{x}</th>" for x in head) +
            "</tr></thead><tbody>" + "".join(
                "<tr>" + "".join(f"<td>{x}</td>" for x in row) + "</tr>"
                for row in rows) + "</tbody></table>")


def request_rows(c, schema):
    for name, kind, x, required in c.rows(schema):
        what = text_of(x.get("description", ""))
        if what == "not supported yet":
            continue
        if required:
            what = "<strong>needed.</strong> " + what
        elif "default" in x:
            what = f"<code>{html.escape(json.dumps(x['default']))}</code> " \
                "where it is left out. " + what
        yield f"<code>{name}</code>", html.escape(kind), what


def answer_rows(c, schema):
    for name, kind, x, required in c.rows(schema):
        if name in ("id", "object", "model", "created"):
            continue
        what = text_of(x.get("description", ""))
        yield (f"<code>{name}</code>", html.escape(kind),
               what if required else "<em>not always.</em> " + what)


def curl(path, method, example):
    line = f"curl -s localhost:8080{path}"
    if method == "post":
        line += f" -d '{json.dumps(example, ensure_ascii=False)}'"
    return f"<pre>{html.escape(line, quote=False)}</pre>"


def operation(c, path, method, op, given):
    """One route's part of the page."""
    body = op.get("requestBody", {}).get("content", {}).get(
        "application/json", {})
    ok = c.at(op["responses"]["200"])
    answer = ok["content"].get("application/json", {}).get("schema", {})
    example = body.get("example", given)
    shown = path.replace("{m}", str(given or "{m}"))
    out = [f'<section id="{op["operationId"]}"><h2><span class="method">'
           f'{method.upper()}</span> {html.escape(path)}</h2>',
           f"<p>{text_of(op['summary'])}.</p>",
           paragraphs(op.get("description", "")), curl(shown, method, example)]
    if body:
        schema = c.at(body["schema"])
        out += [paragraphs(schema.get("description", "")),
                table(("member", "type", ""), list(request_rows(c, schema)))]
    if ok["description"].count(" ") > 3:
        out.append(f"<p>{text_of(ok['description'])}</p>")
    rows = list(answer_rows(c, answer)) if answer else []
    out.append(table(("of the answer", "type", ""), rows))
    return "".join(out) + "</section>"


def render(api, css):
    """The page, as HTML."""
    c, parts, index = Contract(api), [], []
    for path, methods in api["paths"].items():
        given = next((x.get("example") for x in methods.get("parameters", ())),
                     None)
        for method in ("post", "get"):
            if method in methods:
                op = methods[method]
                parts.append(operation(c, path, method, op, given))
                index.append(f'<li><a href="#{op["operationId"]}"><code>'
                             f"{html.escape(path)}</code></a> "
                             f"{text_of(op['summary'])}</li>")
    status = api["components"]["schemas"]["ErrorCode"]["x-status"]
    said = {k: c.at(v)["description"] for k, v in
            api["components"]["responses"].items() if k.isdigit()}
    errors = table(("status", "code", ""), [
        (s, ", ".join(f"<code>{k}</code>" for k, v in status.items()
                      if str(v) == s), text_of(said.get(s, "")))
        for s in dict.fromkeys(map(str, status.values()))])
    return ("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            '<meta name="viewport" content="width=device-width, '
            'initial-scale=1"><title>seqd: the interface</title>'
            f'<link rel="icon" href="favicon.ico"><style>{css}</style></head>'
            '<body><header><h1>seqd: the interface</h1><p>Made from '
            '<a href="openapi.json">openapi.json</a>, which is the contract. '
            '<a href=".">Try the models.</a></p></header>'
            f"<nav><ul>{''.join(index)}</ul></nav>"
            f"<section>{paragraphs(api['info']['description'])}</section>"
            f"{''.join(parts)}"
            '<section id="errors"><h2>Errors</h2><pre>{"error": {"message": '
            '"...", "type": "...", "param": "input[3]", "code": "...", '
            '"request_id": "..."}}</pre>'
            f"{errors}</section></body></html>\n")
