#!/usr/bin/env python3
"""Write the seeds of the fuzzers (tests/fuzz/corpus) and their dictionaries
(tests/fuzz/NAME.dict) that follow from tests/golden and from the sources: of
all targets but those whose seeds were written by hand (json, safetensors,
torch, gguf, hparams, tokenizer, bpe, vocabulary). Inputs that once broke
something are called found-*, and stay.

    tests/fuzz/make_seeds.py [build/release/seqd-train]

SPDX-License-Identifier: MIT"""
import base64
import glob
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GOLDEN = os.path.join(ROOT, "tests", "golden")
TEXTS = ["Hello, w\u00f6rld 12\n  \U0001f600", "low lower lowest don't (a-b)!",
         "\u2581low \u65e5\u672c\u8a9e \ud55c\uad6d e\u0323\u0301 \ufb01ne\x07",
         "", "x" * 120, "[MASK] <s> </s> <unk> ##er"]


def put(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data.encode() if isinstance(data, str) else data)


def clear(target):
    for path in glob.glob(os.path.join(HERE, "corpus", target, "*")):
        if not os.path.basename(path).startswith("found-"):
            os.remove(path)


def write_dict(target, words):
    with open(os.path.join(HERE, target + ".dict"), "w") as f:
        f.write("# words for tests/fuzz, by make_seeds.py\n")
        for w in sorted(set(words)):
            text = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\'
                           else "\\x%02x" % b for b in w.encode())
            f.write('"%s"\n' % text)


def source(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def list_of(path, name):
    """The strings of a table of folders in C."""
    body = re.search(name + r"\[\] = \{(.*?)\};", source(path), re.S).group(1)
    body = re.sub(r'"\s*"', "", body)
    return [m for m in re.findall(r'GOLDEN "([^"]*)"', body)]


# --- the wire ---

HOST = "Host: localhost\r\n"
JSON = HOST + "Content-Type: application/json\r\n"


def post(path, body, more=""):
    return "POST %s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (
        path, JSON, more, len(body.encode()), body)


def chunked(path, parts):
    return "POST %s HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n" % (
        path, JSON) + "".join("%x\r\n%s\r\n" % (len(p), p) for p in parts) + \
        "0\r\n\r\n"


def wire():
    get = "GET /livez HTTP/1.1\r\n" + HOST + "\r\n"
    heads = [
        get, "GET / HTTP/1.0\r\n\r\n",
        "GET http://localhost:80/a?b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: te, close\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        "POST /p HTTP/1.1\r\n" + JSON + "Content-Length: 12 \t\r\nOrigin: "
        "https://a\r\nAuthorization: Bearer one\r\nX-Request-Id: i.d\r\n"
        "Expect: 100-continue\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n" + HOST + "Access-Control-Request-Method: "
        "POST\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\n" + HOST + "Content-Length: 1\r\nContent-Length: 1"
        "\r\n\r\n",
        "GET / HTTP/1.1\r\n" + HOST + "X: a\r\n b\r\n\r\n"]
    for i, h in enumerate(heads):
        put("head", "head%d" % i, h)
    bodies = ["0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n",
              "5;a=\"b\"\r\nhello\r\n00\r\n\r\n", "5\r\nhell",
              "A\r\n0123456789\r\n3\r\nabc\r\n0\r\nX: y\r\nY:\r\n\r\n",
              "1\r\na\r\n2\r\nbc\r\n1;x\r\nd\r\n0\r\n\r\nGET"]
    for i, b in enumerate(bodies):
        put("chunks", "body%d" % i, b)
    tokenize = '{"input":"a b","model":"words"}'
    talks = [
        get + get, "\r\n" + get + post("/tokenize", tokenize) + get,
        chunked("/tokenize", ['{"input":', '["a","b c"],"model":"embed"}']),
        chunked("/predict", ['{"input":"w1 w2"}']) + get,
        post("/predict", '{"input":"a","model":"lm","top_k":3}'),
        post("/sentiment", '{"input":["a","b"]}'),
        post("/generate", '{"input":"low","max_tokens":4,"temperature":0,'
             '"stream":true,"model":"words"}') + get,
        post("/v1/embeddings", '{"input":"a b","encoding_format":"base64"}'),
        post("/tokenize", tokenize, "Expect: 100-continue\r\n"),
        "HEAD /version HTTP/1.1\r\n" + HOST + "\r\n" + get,
        "GET /v1/models HTTP/1.1\r\n" + HOST + "\r\n",
        "GET /v1/models/words HTTP/1.1\r\n" + HOST + "\r\n",
        "GET /info HTTP/1.0\r\n" + HOST + "\r\n",
        "OPTIONS /predict HTTP/1.1\r\n" + HOST + "Origin: https://a\r\n"
        "Access-Control-Request-Method: POST\r\n\r\n",
        "POST /predict HTTP/1.1\r\n" + JSON + "Content-Length: 99999\r\n\r\n",
        "POST /x HTTP/1.1\r\n" + JSON + "Transfer-Encoding: chunked\r\n\r\n5x",
        get[:20], "GET / HTTP/1.2\r\n\r\n" + get]
    for i, t in enumerate(talks):
        put("conn", "plain%02d" % i, b"\6" + t.encode())
    keyed = talks[1].replace(HOST, HOST + "Authorization: Bearer one\r\n")
    put("conn", "keyed0", b"\5" + keyed.encode())
    put("conn", "keyed1", b"\5" + keyed.replace("one", "two").encode())
    words = HOST.split() + ["GET ", "POST ", "HEAD ", "OPTIONS ", " HTTP/1.1",
                            " HTTP/1.0", "\r\n", "\r\n\r\n", "Connection: ",
                            "close", "keep-alive", "Content-Length: ",
                            "Transfer-Encoding: chunked", "Expect: ",
                            "100-continue", "Authorization: Bearer one",
                            "Origin: https://a", "application/json",
                            "Access-Control-Request-Method: ", "0\r\n\r\n",
                            "X-Request-Id: ", "http://", "https://"]
    routes = re.findall(r'\{"(/[^"]*)", METHOD', source("server/api/route.c"))
    write_dict("head", words)
    write_dict("conn", words + routes + ['{"input":"a"}', '"model":"lm"'])


def api():
    asks = [
        (0, {"input": "w1 w2", "model": "lm", "top_k": 3}),
        (0, {"input": ["low", "lower "], "model": "words", "level": "word",
             "temperature": 0.5}),
        (0, {"input": "a [MASK] b", "model": "fill", "attention": True}),
        (0, {"input": "w1 " * 40, "truncate": True, "timeout_ms": 60000}),
        (1, {"input": ["w1", "w2 w3"], "attention": True}),
        (2, {"input": "low", "model": "words", "max_tokens": 6,
             "temperature": 0, "stop": ["l", "o"], "seed": 7}),
        (2, {"input": ["a", "b"], "model": "lm", "stream": True, "top_k": 2,
             "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.2}),
        (3, {"input": TEXTS[0], "model": "words", "add_special": True}),
        (3, {"input": ["a\0b", "", TEXTS[5]], "model": "embed",
             "parse_special": True}),
        (4, {"tokens": [1, 2, 3], "model": "words"}),
        (4, {"tokens": [[1], [2, 0]], "model": "lm"}),
        (5, {"input": ["a b", "c"], "encoding_format": "base64"}),
        (5, {"input": [[5, 6], [7]], "model": "embed", "user": "x"}),
        (5, {"input": "", "dimensions": 3}),
        (2, {"input": ["w1", "w2"], "model": "lm", "max_tokens": 8, "seed": 11,
             "temperature": 1.5}),
        (0, {"input": ["low", "lo "], "model": "words",
             "prefix": ["lo", "Low"], "top_k": 9}),
        (0, {"input": "w1", "model": "lm", "prefix": "W"})]
    for i, (route, body) in enumerate(asks):
        put("api", "ask%02d" % i, bytes([route]) + json.dumps(body).encode())
    words = []
    for path in glob.glob(os.path.join(ROOT, "server/api/*.c")):
        words += ['"%s":' % w for w in re.findall(
            r'\{"([a-z_0-9]+)", FIELD_', source(path))]
    words += ['"input":', '"model":', '"truncate":', '"timeout_ms":', "true",
              '"lm"', '"class"', '"words"', '"embed"', '"fill"', "\\u0000",
              "[MASK]", "\\ud83d\\ude00", '["a","b"]', "[1,2]", "1e9", "null"]
    write_dict("api", words)


# --- Marian's file ---

def marian_file(items, gap=8):
    """items: name, type, shape, bytes."""
    out = struct.pack("<QQ", 1, len(items))
    for name, kind, shape, data in items:
        out += struct.pack("<QQQQ", len(name) + 1, kind, len(shape), len(data))
    out += b"".join(name.encode() + b"\0" for name, _, _, _ in items)
    for _, _, shape, _ in items:
        out += struct.pack("<%di" % len(shape), *shape)
    out += struct.pack("<Q", gap) + bytes(gap)
    return out + b"".join(data for _, _, _, data in items)


def marians():
    yml = b"type: transformer\ndim-emb: 2\ndim-vocabs:\n  - 3\n  - 3\na: []\n\0"
    floats = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    good = [("Wemb", 0x4101, (3, 2), bytes(range(6)) + struct.pack("<f", 3)),
            ("x_W", 0x404, (2, 3), floats), ("x_b", 0x404, (1, 3), floats[:12]),
            ("special:model.yml", 0x101, (len(yml),), yml)]
    put("marian", "good", marian_file(good))
    put("marian", "no-yml", marian_file(good[:3]))
    put("marian", "half", marian_file([("a", 0x402, (2,), b"abcd")]))
    put("marian", "zero", marian_file([("a", 0x4101, (2, 2), bytes(8))]))
    put("marian", "twice", marian_file([good[1], good[1]]))
    put("marian", "short", marian_file(good)[:-9])


# --- texts ---

def texts():
    for target, n in [("wordpiece", 3), ("unigram", 9)]:
        for k in range(n):
            for i in range(k % 2, len(TEXTS), 2):
                put(target, "%d-%d" % (k, i), bytes([k]) + TEXTS[i].encode())
    folder = os.path.join(GOLDEN, "spm_model")
    for path in sorted(glob.glob(os.path.join(folder, "*", "*.*"))):
        name = os.path.basename(os.path.dirname(path))
        if path.endswith((".model", "/target.spm")) and name != "marian-two":
            with open(path, "rb") as f:
                put("model", name, f.read())
    # a piece, the unknown one, both of the other kinds of model, a bad length
    tiny = b"\n\x05\n\x03the\n\x09\n\x05<unk>\x18\x02"
    put("model", "tiny", tiny)
    put("model", "tiny-bpe", tiny + b"\x12\x02\x18\x02\x1a\x02\x20\x00")
    put("model", "bad-length", tiny + b"\n\xff\xff\xff\xff\x0f")
    for name in ["t5"]:
        with open(os.path.join(GOLDEN, "spm", name, "tokenizer.json")) as f:
            found = re.search(r'"precompiled_charsmap": ?"([^"]*)"', f.read())
        table = base64.b64decode(found.group(1))
        text = "\u00a0\u2460\ufb01 \u3000e\u0301 ab".encode()
        put("charsmap", name, struct.pack("<H", len(table)) + table + text)
    # one node for "a", whose value is the first text
    units = [0] * 512
    units[0] = 1 << 10
    units[1 ^ ord("a")] = ord("a") | 1 << 8 | 200 << 10
    units[(1 ^ ord("a")) ^ 200] = 1 << 31
    table = struct.pack("<I512I", 4 * 512, *units) + b"xyz\0"
    put("charsmap", "small", struct.pack("<H", len(table)) + table + b"banana")


def pipes():
    with open(os.path.join(GOLDEN, "tokenizer", "pipelines.json")) as f:
        rows = json.load(f)
    seen, n, words = set(), 0, set()
    for row in rows:
        root = json.loads(row["tokenizer"])
        parts = {k: root[k] for k in ["normalizer", "pre_tokenizer", "decoder"]}
        text = json.dumps(parts, separators=(",", ":"))
        kinds = set(re.findall(r'"type":"(\w+)"', text))
        words |= set(re.findall(r'"[A-Za-z_]+":?', text))
        if kinds <= seen or len(text) > 700:
            continue
        seen |= kinds
        data = text[1:-1].encode() + b"\0" + TEXTS[n % 3].encode()
        put("pipe", "pipe%02d" % n, bytes([n % 4]) + data)
        n += 1
    for i, t in enumerate(TEXTS[:4]):
        put("pipe", "none%d" % i, bytes([i]) + b"\0" + t.encode())
    write_dict("pipe", words | {"low", "\u2581", "<unk>", "Sequence", "##"})


def records():
    files = {0: "one\ntwo\r\n\nthree", 1: "\ufeffa\n\n b \n",
             2: "a line that\nis wrapped\n\nsecond\n", 3: "x\n\ny\nz\n\n",
             4: "whole\nfile", 8: "1 good\n0\tbad\n"}
    for kind, text in files.items():
        put("records", "kind%d" % kind, bytes([kind]) + text.encode())
    for i, text in enumerate([
            'label,text\r\n1,"a ""q"", b"\r\n0,c\n', 'text\tlabel\na\t1\n"b\t0\n',
            'id,review,sentiment\n1,"two\nlines",pos\n2,,neg\n',
            'Sentence\tx\tclass\n\n"q"\t2\t3\n"a\tb"\t1\t0\n']):
        put("records", "table%d" % i, b"\x08" + text.encode())
    write_dict("records", ["label,text\n", "text\tlabel\n", '"', '""', "\r\n",
                           "\n\n", "\t", ",", "sentence", "sentiment", "1 a\n"])


def tunes():
    """Prompts, and choices of what follows them."""
    head = "X:1\nM:6/8\nL:1/8\nK:G\n"
    for i, text in enumerate([
            "", "M:C|\nK:F#m\n", "X:1\nT:a \u00e9\nR:jig\nM: 9/8\nL:1/16\nK:D dor\n",
            "K:C\n", "%% a\nL:1/4\n", head + "|:D|G2A B2c|", head + "[1",
            head + "G6|G6|G6|G6|]\n\nX:2\nM:2/4\nK:A\n", head + "(3:2:3GAB A3-",
            head + "{/ga}b2 \"G7/B\"[GB]2 A>>", head + "~G.A !f!B (c2d)|w: a\n",
            head + "|:G6|G3 G3:|\nM:3/4\n", "K:G\nA", head + "G/8",
            head + "G3|P:A\nA:b\n::", "X:1\nT:A"]):
        put("abc", "tune%02d" % i, text.encode() + b"\0" +
            bytes((37 * k * k + 11 * k + i) % 251 for k in range(160)))
    write_dict("abc", ["X:1\n", "M:6/8\n", "L:1/8\n", "K:Em\n", "|:", ":|", "[1",
                       "[2", "||", "|]", "(3", "\"G\"", "{a}", "3/2", "G>A",
                       "A-A", "[CE]", "C|", "::"])


# --- checkpoints ---

def configs():
    where = "tests/support/fuzz_models.c"
    words = set()
    for i, folder in enumerate(list_of(where, "folders")):
        with open(os.path.join(GOLDEN, folder, "config.json")) as f:
            config = json.load(f)
        for key in ["transformers_version", "dtype", "torch_dtype",
                    "_name_or_path", "use_cache"]:
            config.pop(key, None)
        put("config", os.path.basename(folder.replace("/hf", "")),
            bytes([i]) + json.dumps(config, separators=(",", ":")).encode())
    for path in glob.glob(os.path.join(ROOT, "models", "*", "*.c")):
        if not path.endswith("_grad.c") and "/train/" not in path:
            words |= set(re.findall(r'"([a-z][a-z_0-9]{2,40})"', source(path)))
    write_dict("config", ['"%s":' % w for w in words] +
               ["null", "true", "false", "1e-5", "[1,2]", "{}", "-1", "0.5"])
    return words


SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f",
           7: "<B", 10: "<Q", 11: "<q", 12: "<d"}


def gguf_keys(path):
    """Metadata as lines of the target `keys`; no lists."""
    with open(path, "rb") as f:
        p = f.read()
    at, out = 24, []

    def text():
        nonlocal at
        n = struct.unpack_from("<Q", p, at)[0]
        at += 8 + n
        return p[at - n:at].decode()

    def value(kind):
        nonlocal at
        if kind == 8:
            return '"' + text()
        v = struct.unpack_from(SCALARS[kind], p, at)[0]
        at += struct.calcsize(SCALARS[kind])
        return ("true" if v else "false") if kind == 7 else \
            "%g" % v if kind in (6, 12) else str(v)

    for _ in range(struct.unpack_from("<Q", p, 16)[0]):
        key = text()
        kind = struct.unpack_from("<I", p, at)[0]
        at += 4
        if kind == 9:
            elem, n = struct.unpack_from("<IQ", p, at)
            at += 12
            for _ in range(n):
                value(elem)
            continue
        v = value(kind)
        if not key.startswith("tokenizer.") and len(v) < 40:
            out.append("%s=%s" % (key, v + ".0" if kind == 6 and "." not in v
                                  and "e" not in v else v))
    return out


def eight(path, end, data):
    """A patch of the first tensor whose name ends so: its data's begin, or
    (None) its name or its type in the header."""
    with open(path, "rb") as f:
        p = f.read()
    n, = struct.unpack_from("<Q", p)
    header = json.loads(p[8:8 + n])
    name = next(k for k in header if k.endswith(end))
    if data is not None:
        at = 8 + n + header[name]["data_offsets"][0]
    elif end == ".scale":
        at, data = p.index(name.encode()) + len(name) - 1, b"x"
    else:
        at = p.index(b'"F32"', p.index(name.encode())) + 1
        data = b'I8" '
    return struct.pack("<I", at | len(data) << 24) + data


def checkpoints():
    where = "tests/support/fuzz_models.c"
    folders, ggufs = list_of(where, "folders"), list_of(where, "ggufs")
    words = set()
    for i, folder in enumerate(ggufs):
        lines = gguf_keys(os.path.join(GOLDEN, folder, "model.gguf"))
        words |= {line.split("=")[0] + "=" for line in lines}
        put("keys", os.path.basename(folder),
            bytes([i]) + "\n".join(lines).encode())
    write_dict("keys", words | {"=~", "=[1 2 3", "=[0.5 1.5", "=\"linear",
                                "=\"yarn", "=true", "=-1", "=1L"})
    for i, folder in enumerate(folders + ggufs):
        path = sorted(glob.glob(os.path.join(
            GOLDEN, folder, "model*.safetensors" if i < len(folders) else
            "model.gguf")))[0]
        data = struct.pack("<I", os.path.getsize(path) - 64 | 4 << 24) + \
            struct.pack("<f", 2.5)
        head = struct.pack("<I", 200 + 37 * i | 1 << 24) + b"9"
        put("checkpoint", "patch%02d" % i, bytes([i]) + data +
            (head if i % 4 == 3 else b""))
    for name, end, data in [
            ("scale-negative", ".scale", struct.pack("<f", -1)),
            ("scale-infinite", ".scale", struct.pack("<I", 0x7f800000)),
            ("byte-below", "c_attn.weight", b"\x80"),
            ("table-below", "wte.weight", b"\x80"),
            ("no-scales", ".scale", None), ("vector", "ln_f.bias", None)]:
        i = next(k for k, f in enumerate(folders) if "gpt2-i8" in f)
        put("checkpoint", "i8-" + name, bytes([i]) + eight(
            os.path.join(GOLDEN, folders[i], "model.safetensors"), end, data))
    put("checkpoint", "cut", bytes([0]) + struct.pack("<I", 4000))
    put("checkpoint", "head", bytes([11]) + struct.pack("<I", 8 << 24) + bytes(8))


# --- a training ---

def states(train):
    words = "a b c\nb c a\nc a b\na c b\nb a c\n"
    options = re.search(r'"seqd-train",(.*?)\};', source(
        "tests/support/fuzz_train.c"), re.S).group(1)
    options = re.findall(r'"(--[a-z-]+)",\s*"([^"-][^"]*)"', options)
    with tempfile.TemporaryDirectory() as work:
        data = os.path.join(work, "words.txt")
        with open(data, "w") as f:
            f.write(words)
        for epochs in ["1", "2"]:
            out = os.path.join(work, "out" + epochs)
            args = [train, "train", "--data", data, "--valid", data, "--out",
                    out]
            for flag, value in options:
                args += [flag, epochs if flag == "--epochs" else value]
            subprocess.run(args, check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            with open(os.path.join(out, "state.bin"), "rb") as f:
                put("state", "epochs" + epochs, f.read())


def main():
    for target in ["head", "chunks", "conn", "api", "wordpiece", "unigram",
                   "model", "marian", "charsmap", "pipe", "records", "abc", "config", "keys",
                   "checkpoint", "state"]:
        clear(target)
    wire()
    api()
    marians()
    texts()
    pipes()
    records()
    tunes()
    configs()
    checkpoints()
    states(sys.argv[1] if len(sys.argv) > 1 else
           os.path.join(ROOT, "build/release/seqd-train"))


main()
