"""For schemathesis 4 by hand (tests/README.md): requests that a server has an
answer to, a check of what a body that fits is refused for, one of streams, and
keys that are not optional when SEQD_API_KEY is set. MODELS has the names of the
server's models, which runs with --max-output-tokens 32.

SPDX-License-Identifier: MIT
"""
import os
import sys

import schemathesis

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from contract import Contract, read_json  # noqa: E402

NAMES = os.environ.get("MODELS", "").split()


@schemathesis.hook
def before_load_schema(_, raw):
    if os.environ.get("SEQD_API_KEY"):
        raw["security"] = [{"key": []}]


@schemathesis.hook
def map_body(_, body):
    """Values that fit for others that do: most lengths that a schema allows
    are over --max-output-tokens, most names are no model's, and few bodies
    happen to ask for a stream."""
    if not isinstance(body, dict):
        return body
    n = body.get("max_tokens")
    if isinstance(n, int) and 32 < n <= 1048576:
        body["max_tokens"] = n % 33
    if body.get("stream", 0) is False and len(str(body)) % 2:
        body["stream"] = True
    if NAMES and isinstance(body.get("model"), str):
        body["model"] = NAMES[len(body["model"]) % len(NAMES)]
    return body


@schemathesis.hook
def map_path_parameters(_, parameters):
    if NAMES and parameters and len(parameters.get("m", "")) % 2:
        parameters["m"] = NAMES[len(parameters["m"]) % len(NAMES)]
    return parameters


def is_plain(case):
    """The request is as the contract wants it."""
    return (case.meta and case.meta.generation.mode.is_positive and
            case.method.lower() in ("get", "post") and
            isinstance(case.body, dict))


@schemathesis.check
def fits_is_answered(ctx, response, case):
    if not is_plain(case) or response.status_code in (200, 401):
        return
    root = case.operation.schema.raw_schema
    body = case.operation.definition.raw["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    e = read_json(response.content.decode())["error"]
    assert Contract(root).may_refuse(schema, case.body, e["code"],
                                     e["param"]), e


@schemathesis.check
def stream_is_of_chunks(ctx, response, case):
    if not response.headers.get("content-type", [""])[0].startswith(
            "text/event-stream"):
        return
    c = Contract(case.operation.schema.raw_schema)
    events = response.content.decode().split("\n\n")
    assert events.pop() == ""
    for e in events:
        assert e == ": ping" or e[:6] == "data: ", e
        if e[:6] == "data: " and e != "data: [DONE]":
            v = read_json(e[6:])
            name = "Error" if "error" in v else "GenerateChunk"
            assert not c.fault(c.schema(name), v), e
