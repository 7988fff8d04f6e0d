"""The contract at work, for tests/http/test_openapi.py: what fits a schema and
what does not, values of either kind, and whether an answer is one that an
operation may give. Of JSON Schema it knows what server/api/openapi.yaml uses; a
keyword that it does not know is an error. Chance comes from a random.Random of
the caller's, so that a seed gives the same requests.

SPDX-License-Identifier: MIT
"""
import json
import re

SAID = {"description", "default", "example", "x-errors", "x-status"}
WORDS = ["the", "not", "bad", "good", "a cat", "Once upon a time", "X:1\nM:4/4",
         " ", "\n", "\0", "é", "e\u0301", "日本語", "😀", "\ufeff", "\u202e",
         "\x7f", "\x1b[0m", "\\", '"', "</script>", "<unk>", "[MASK]", "%s%n",
         "\ufffd", "null", "-1", "𝒳", "zebra"]
TYPES = {"null": lambda v: v is None,
         "boolean": lambda v: isinstance(v, bool),
         "string": lambda v: isinstance(v, str),
         "array": lambda v: isinstance(v, list),
         "object": lambda v: isinstance(v, dict),
         "number": lambda v: is_number(v),
         "integer": lambda v: is_number(v) and v == int(v)}


def is_number(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool)


def same(a, b):
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def read_json(text):
    """Strict: no member twice, no NaN."""
    def members(pairs):
        d = dict(pairs)
        assert len(d) == len(pairs), "a member stands there twice"
        return d

    def constant(name):
        raise ValueError(name)
    return json.loads(text, object_pairs_hook=members, parse_constant=constant)


class Contract:
    def __init__(self, root):
        self.root = root

    def follow(self, schema):
        """A schema or a component in place of its $ref; what stands beside the
        reference stays."""
        while "$ref" in schema:
            found = self.root
            for part in schema["$ref"].split("/")[1:]:
                found = found[part]
            schema = {**found, **{k: v for k, v in schema.items()
                                  if k != "$ref"}}
        return schema

    def schema(self, name):
        return {"$ref": "#/components/schemas/" + name}

    # ------------------------------------------------------ what fits

    def fault(self, schema, v, at=""):
        """What is wrong with v, or None."""
        schema = self.follow(schema)
        for key, arg in schema.items():
            if key in SAID:
                continue
            check = getattr(self, "check_" + key, None)
            assert check, f"the contract has a keyword not known: {key}"
            said = check(arg, v, at, schema)
            if said:
                return said
        return None

    def check_type(self, arg, v, at, _):
        names = arg if isinstance(arg, list) else [arg]
        if not any(TYPES[n](v) for n in names):
            return f"{at}: {v!r:.60} is not {names}"

    def check_enum(self, arg, v, at, _):
        if not any(same(v, x) for x in arg):
            return f"{at}: {v!r:.60} is none of {arg}"

    def check_const(self, arg, v, at, _):
        return self.check_enum([arg], v, at, _)

    def check_required(self, arg, v, at, _):
        lacks = [n for n in arg if isinstance(v, dict) and n not in v]
        return f"{at}: lacks {lacks}" if lacks else None

    def check_properties(self, arg, v, at, _):
        for name in v if isinstance(v, dict) else ():
            if name in arg:
                said = self.fault(arg[name], v[name], f"{at}/{name}")
                if said:
                    return said

    def check_additionalProperties(self, arg, v, at, schema):
        more = [n for n in v if n not in schema.get("properties", ())] \
            if isinstance(v, dict) else []
        if not arg:
            return f"{at}: has {sorted(more)}" if more else None
        for name in more if isinstance(arg, dict) else ():
            said = self.fault(arg, v[name], f"{at}/{name}")
            if said:
                return said

    def check_propertyNames(self, arg, v, at, _):
        for name in v if isinstance(v, dict) else ():
            said = self.fault(arg, name, f"{at}/{name}")
            if said:
                return said

    def check_maxProperties(self, arg, v, at, _):
        ok = not isinstance(v, dict) or len(v) <= arg
        return self.bound(ok, v, at, "maxProperties")

    def check_items(self, arg, v, at, _):
        for i, x in enumerate(v if isinstance(v, list) else ()):
            said = self.fault(arg, x, f"{at}/{i}")
            if said:
                return said

    def fits(self, list_of, v):
        return sum(self.fault(s, v) is None for s in list_of)

    def check_oneOf(self, arg, v, at, _):
        n = self.fits(arg, v)
        return f"{at}: {v!r:.60} fits {n} of oneOf" if n != 1 else None

    def check_anyOf(self, arg, v, at, _):
        return None if self.fits(arg, v) else f"{at}: {v!r:.60} fits no anyOf"

    def check_allOf(self, arg, v, at, _):
        return next((f for f in (self.fault(s, v, at) for s in arg) if f), None)

    def check_pattern(self, arg, v, at, _):
        if isinstance(v, str) and not re.search(arg, v):
            return f"{at}: {v!r:.60} is not like {arg}"

    def bound(self, ok, v, at, what):
        return None if ok else f"{at}: {v!r:.60} breaks {what}"

    def check_minimum(self, arg, v, at, _):
        return self.bound(not is_number(v) or v >= arg, v, at, "minimum")

    def check_exclusiveMinimum(self, arg, v, at, _):
        return self.bound(not is_number(v) or v > arg, v, at, "minimum")

    def check_maximum(self, arg, v, at, _):
        return self.bound(not is_number(v) or v <= arg, v, at, "maximum")

    def check_minLength(self, arg, v, at, _):
        ok = not isinstance(v, str) or len(v) >= arg
        return self.bound(ok, v, at, "minLength")

    def check_maxLength(self, arg, v, at, _):
        ok = not isinstance(v, str) or len(v) <= arg
        return self.bound(ok, v, at, "maxLength")

    def check_minItems(self, arg, v, at, _):
        ok = not isinstance(v, list) or len(v) >= arg
        return self.bound(ok, v, at, "minItems")

    def check_maxItems(self, arg, v, at, _):
        ok = not isinstance(v, list) or len(v) <= arg
        return self.bound(ok, v, at, "maxItems")

    # ------------------------------------------------------ values

    def make(self, rng, schema, own=None):
        """A value that fits; own: {member: function of rng} for members whose
        schema says little about what is worth asking."""
        for _ in range(200):
            v = self.guess(rng, schema, own or {})
            if self.fault(schema, v) is None:
                return v
        raise AssertionError(f"no value found for {schema}")

    def guess(self, rng, schema, own):
        s = self.follow(schema)
        for key in ("oneOf", "anyOf"):
            if key in s:
                return self.guess(rng, rng.choice(s[key]), own)
        if "enum" in s or "const" in s:
            return rng.choice(s.get("enum") or [s["const"]])
        types = s.get("type", "object")
        kind = types if isinstance(types, str) else rng.choice(
            [t for t in types for _ in range(1 if t == "null" else 4)])
        return getattr(self, "guess_" + kind)(rng, s, own)

    def guess_null(self, *_):
        return None

    def guess_boolean(self, rng, *_):
        return rng.random() < 0.5

    def guess_string(self, rng, s, _):
        text = "".join(rng.choice(WORDS) + rng.choice(["", " "])
                       for _ in range(rng.choice([0, 1, 1, 2, 3, 5, 20])))
        most = s.get("maxLength")
        if most and rng.random() < 0.3:
            text = (text or "x") * most
        return (text or "x" * s.get("minLength", 0))[:most]

    def guess_number(self, rng, s, _):
        least = s.get("minimum", s.get("exclusiveMinimum", -1e9))
        most = s.get("maximum", 1e9)
        return rng.choice([least, most, 1, 0.5, 1e-300,
                           rng.uniform(least, most),
                           least + (most - least) * 10 ** -rng.uniform(0, 9)])

    def guess_integer(self, rng, s, _):
        least, most = s.get("minimum", -2 ** 40), s.get("maximum", 2 ** 40)
        return rng.choice([least, most, least + 1, most - 1, -0.0,
                           min(most, least + int(10 ** rng.uniform(0, 16))),
                           min(most, least + int(10 ** rng.uniform(0, 2)))])

    def guess_array(self, rng, s, own):
        n = s.get("minItems", 0) + rng.choice([0, 0, 1, 1, 2, 3, 8])
        if "maxItems" in s and rng.random() < 0.2:
            n = s["maxItems"]
        return [self.guess(rng, s["items"], own) for _ in range(n)]

    def guess_object(self, rng, s, own):
        members = s.get("properties", {})
        v = {}
        few = rng.random()
        for name, schema in members.items():
            if name in s.get("required", ()) or rng.random() < few:
                v[name] = (own[name](rng) if name in own
                           else self.guess(rng, schema, own))
        more = s.get("additionalProperties", True)
        if isinstance(more, dict):  # by numbers, as its propertyNames say
            for _ in range(rng.choice([0, 1, 3])):
                v[str(rng.randrange(10 ** rng.randrange(1, 9)))] = self.guess(
                    rng, more, own)
        elif more and rng.random() < 0.3:
            v["x" + self.guess_string(rng, {}, None)] = rng.choice(
                [None, 1, -1e300, "x", [[]], {"a": {}}])
        names = list(v)
        rng.shuffle(names)
        return {n: v[n] for n in names}

    def spoil(self, rng, schema, v):
        """v with one thing changed so that it does not fit any more."""
        strange = [None, True, False, 0, -1, 1.5, 1e300, -1e300, 10 ** 30, "",
                   "x", "1", [], {}, [[]], [None], {"a": 1}, [1, "a"]]
        for _ in range(500):
            w = json.loads(json.dumps(v))
            places, at = [], [w]
            while at:
                x = at.pop()
                keys = x if isinstance(x, dict) else range(len(x))
                places += [(x, k) for k in keys]
                at += [x[k] for k in keys if isinstance(x[k], (dict, list))]
            x, k = rng.choice(places) if places else (w, "x")
            how = rng.random()
            if how < 0.15 and isinstance(x, dict) and k in x:
                del x[k]
            elif how < 0.3:
                w[rng.choice(["x", "Input", "input ", "", "\0", "tempreature"])
                  ] = rng.choice(strange)
            else:
                x[k] = rng.choice(strange)
            if self.fault(schema, w) is not None:
                return w
        return rng.choice([[], None, "x", 1, True])

    # ------------------------------------------------------ answers

    def operation(self, path, method):
        return self.root["paths"][path].get(method.lower())

    def answer_fault(self, op, status, headers, body, bodiless=False):
        """What an answer has that the contract does not know of, or None.
        headers: lower case."""
        listed = op["responses"].get(str(status)) or op["responses"].get(
            "default")
        if not listed:
            return f"the status {status} is not in the contract"
        listed = self.follow(listed)
        for name, h in listed.get("headers", {}).items():
            said = self.header_fault(self.follow(h), headers.get(name.lower()))
            if said:
                return f"{name}: {said}"
        kind = headers.get("content-type", "").split(";")[0]
        content = listed.get("content")
        if not content or bodiless:
            return "a body" if body else None
        if kind not in content:
            return f"the content type {kind!r} is not in the contract"
        if kind != "application/json":
            return None
        try:
            v = read_json(body.decode())
        except (ValueError, AssertionError) as e:
            return f"no JSON: {e}"
        return self.fault(content[kind]["schema"], v)

    def header_fault(self, h, value):
        if value is None:
            return "is missing" if h.get("required") else None
        if h["schema"].get("type") == "integer":
            value = int(value) if value.isdigit() else value
        return self.fault(h["schema"], value)

    def may_refuse(self, schema, body, code, param):
        """A body that fits is refused with this code and param: does the
        contract say so? (x-errors)"""
        members = self.follow(schema)["properties"]
        names = [re.sub(r"\[\d+\]$", "", param)] if param else list(body)
        return any(code in self.follow(members.get(n, {})).get("x-errors", ())
                   for n in names)


def text_of(rng, v):
    """JSON of v, as different clients write it."""
    gap = rng.choice(["", "", " ", "\n\t"])
    if isinstance(v, dict):
        return "{" + ("," + gap).join(
            text_of(rng, k) + gap + ":" + text_of(rng, x)
            for k, x in v.items()) + "}"
    if isinstance(v, list):
        return "[" + ("," + gap).join(text_of(rng, x) for x in v) + gap + "]"
    if is_number(v) and v == int(v) and abs(v) < 1e15:
        forms = [f"{v:.0f}", f"{v:.0f}.0", f"{v:.0f}e0", f"{v:.0f}E+00"]
        if v and v % 100 == 0:
            forms.append(f"{v / 100:.0f}e2")
        return rng.choice(forms[:1] * 4 + forms)
    return json.dumps(v, ensure_ascii=rng.random() < 0.5)
