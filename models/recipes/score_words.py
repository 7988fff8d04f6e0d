#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a model of next words is worth to somebody who types, through HTTP.

    python3 models/recipes/score_words.py --url http://127.0.0.1:8080 \\
        --model next-word-lstm talk.test.txt news.test.txt
    python3 models/recipes/score_words.py --fifty models/recipes/fifty.txt

A file is a text a line. A word is a run of letters and digits with apostrophes
between them; white space and marks stand between words. Before each word, and
after each of its letters, seqd is asked for the next word (POST /predict, the
line up to the word as `input`, the letters so far as `prefix`), and the first
three that it offers and that begin with a letter or a digit are shown.

  top1, top3   share of words that are the first, or among the three, that are
               shown before any letter of them is typed
  saved        keystrokes saved: 1 - keys / characters. A word that is shown is
               picked as soon as it is, with one key, which writes the rest of
               it and the space behind it, where the text has one. All else is
               one key for each character (code point): letters up to the pick,
               words that are never shown before their last letter, marks, other
               spaces. The end of a line is no character.

Nothing is taken back, and case counts, unless --fold is given (for models that
write no capitals). Lines are taken in an order that --seed shuffles until they
have --words words; of a line the first 60 words count.

--fifty: beginnings with words that may follow (fifty.txt says how it is
written); `right` of them have one among the five words that are shown, whatever
the case. -v: name the others.

One JSON line a file. Standard library only.
"""
import argparse
import http.client
import json
import random
import re
import sys
import urllib.parse

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
SHOWN = 3
OF_FIFTY = 5
MARKS = 5  # asked for besides, as marks are not shown
MOST_OF_LINE = 60
MOST_TYPED = 64  # letters of a prefix


class Server:
    """One connection to seqd."""

    def __init__(self, url, model, batch):
        self.host = urllib.parse.urlsplit(url).netloc
        self.model, self.batch = model, batch
        self.connection = http.client.HTTPConnection(self.host, timeout=600)

    def post(self, body):
        """The answer to one request."""
        if self.model:
            body["model"] = self.model
        self.connection.request("POST", "/predict", json.dumps(body),
                                {"Content-Type": "application/json"})
        reply = self.connection.getresponse()
        answer = json.loads(reply.read())
        if reply.status != 200:
            raise SystemExit(answer["error"]["message"])
        return answer["data"]

    def words(self, asked, shown):
        """For each (text, prefix) the words that are shown."""
        out = []
        most = shown + (0 if asked[0][1] else MARKS)
        for i in range(0, len(asked), self.batch):
            part = asked[i:i + self.batch]
            data = self.post({"input": [text for text, _ in part],
                              "prefix": [prefix for _, prefix in part],
                              "top_k": most, "truncate": True})
            for item in data:
                words = [p["text"] for p in item["predictions"]]
                out.append([w for w in words if WORD.match(w)][:shown])
        return out


class Place:
    """A word of a text: what stands before it, and how it is typed."""

    def __init__(self, line, match):
        self.before, self.word = line[:match.start()], match.group()
        self.space = line[match.end():match.end() + 1] == " "
        self.typed = None  # letters before it was picked; None: it was not
        self.rank = None   # before any letter; None: not shown

    def keys(self):
        """Of the word and the space behind it."""
        if self.typed is None:
            return len(self.word) + self.space
        return self.typed + 1


def sample(path, n_words, seed):
    """Lines of the file, of so many words together, and their places."""
    with open(path, encoding="utf-8", newline="\n") as f:
        lines = [line.rstrip("\r\n") for line in f]
    random.Random(seed).shuffle(lines)
    taken, places = [], []
    for line in lines:
        matches = list(WORD.finditer(line))
        if len(places) >= n_words or not matches:
            continue
        if len(matches) > MOST_OF_LINE:
            line = line[:matches[MOST_OF_LINE].start()].rstrip()
            matches = matches[:MOST_OF_LINE]
        taken.append(line)
        places += [Place(line, match) for match in matches]
    return taken, places


def type_all(server, places, fold):
    """Type all words, a letter of each at a time."""
    def same(a, b):
        return a.casefold() == b.casefold() if fold else a == b
    typed, left = 0, places
    while left and typed < MOST_TYPED:
        asked = [(p.before, p.word[:typed]) for p in left]
        for place, shown in zip(left, server.words(asked, SHOWN)):
            rank = next((i for i, word in enumerate(shown)
                         if same(word, place.word)), None)
            if rank is not None:
                place.typed = typed
            if typed == 0:
                place.rank = rank
        typed += 1
        left = [p for p in left
                if p.typed is None and len(p.word) > typed]
    return places


def score_file(server, path, args):
    """The figures of a file of texts."""
    lines, places = sample(path, args.words, args.seed)
    type_all(server, places, args.fold)
    characters = sum(len(line) for line in lines)
    of_words = sum(len(p.word) + p.space for p in places)
    keys = characters - of_words + sum(p.keys() for p in places)
    ranks = [p.rank for p in places]
    return {"file": path.rsplit("/", 1)[-1], "lines": len(lines),
            "words": len(places), "characters": characters, "keys": keys,
            "saved": round(1 - keys / characters, 4),
            "top1": round(ranks.count(0) / len(places), 4),
            "top3": round(1 - ranks.count(None) / len(places), 4)}


def score_fifty(server, path, args):
    """The figures of a file of beginnings."""
    with open(path, encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f
                if line.strip() and not line.startswith("#")]
    offered = server.words([(text, "") for text, _ in rows], OF_FIFTY)
    right = 0
    for (text, wanted), shown in zip(rows, offered):
        hit = {w.casefold() for w in shown} & set(wanted.split(","))
        right += bool(hit)
        if args.verbose and not hit:
            print(f"{text} ... {', '.join(shown)}", file=sys.stderr)
    return {"file": path.rsplit("/", 1)[-1], "items": len(rows),
            "right": right, "share": round(right / len(rows), 4)}


def main():
    """Ask, count; print one JSON line a file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="")
    parser.add_argument("--words", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--fold", action="store_true",
                        help="case does not count")
    parser.add_argument("--fifty", help="a file of beginnings")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("files", nargs="*")
    args = parser.parse_args()
    server = Server(args.url, args.model, args.batch)
    for path in args.files:
        print(json.dumps(score_file(server, path, args)), flush=True)
    if args.fifty:
        print(json.dumps(score_fifty(server, args.fifty, args)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
