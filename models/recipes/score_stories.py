#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Score the model of stories: whole, about one hero, balanced, not circling?

    python3 models/recipes/score_stories.py --url http://127.0.0.1:8080 \\
        --beginnings training/data/stories.test.txt --keep out/stories

Asks a running seqd for --n stories drawn from the empty text (seeds 1..n, as
the checkpoint's own defaults have it) and for as many by taking the likeliest
token each time, from the first sentences of stories that it has not seen; and
prints one line of Markdown for each, after one for those stories themselves,
which says what these counts are worth:

  ended      share that ended by itself, with a mark that ends a sentence
  words      in the mean
  hero       stories with a name: the first, by the word before it ("named",
             "called"), else the first that stands twice inside sentences
  kept       of these, how many still talk of it in the last quarter of their
             sentences: its name is there, or no name and he, she, it or they
  quotes     share whose quotation marks balance in each paragraph
  repeated   share of the runs of four words that stood in the story before, in
             the mean

Standard library only.
"""
import argparse
import json
import os
import re
import statistics
import sys
import urllib.request

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
SENTENCE = re.compile(r"(?<=[.!?])[\"')]*\s+")
CALLED = re.compile(r"\b(?:named|called|name was) ([A-Z][a-z]+)")
INSIDE = re.compile(r"(?<=[a-z,] )([A-Z][a-z]+)\b")
NO_NAME = {"I", "Mom", "Mommy", "Dad", "Daddy", "Mum", "Mummy", "Mama", "Papa",
           "Mr", "Mrs", "God", "Christmas", "English", "Monday", "Tuesday",
           "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
PRONOUN = {"he", "she", "it", "they", "his", "her", "him", "their", "them"}


def names_in(text):
    """Names that stand inside sentences, in their order."""
    return [x for x in INSIDE.findall(text) if x not in NO_NAME]


def hero_of(text):
    """The name that a story begins with, or None."""
    called = CALLED.search(text)
    if called and called.group(1) not in NO_NAME:
        return called.group(1)
    found = names_in(text)
    return next((x for x in found if found.count(x) > 1), None)


def is_kept(text, hero):
    """Whether the story's end still talks of its hero."""
    sentences = SENTENCE.split(text.strip())
    end = " ".join(sentences[-max(1, len(sentences) // 4):])
    if re.search(rf"\b{hero}\b", end):
        return True
    return not names_in(end) and bool(
        PRONOUN & {x.lower() for x in WORD.findall(end)})


def repeated(text, n=4):
    """Share of the runs of n words that stood before."""
    words = [x.lower() for x in WORD.findall(text)]
    runs = [tuple(words[i:i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def balances(text):
    """Whether quotation marks come in pairs in each paragraph."""
    return all(x.count('"') % 2 == 0 for x in text.split("\n"))


def figures(stories):
    """Of (text, whether it ended): the columns of the table."""
    texts = [text for text, _ in stories]
    heroes = [(text, hero_of(text)) for text in texts]
    heroes = [x for x in heroes if x[1]]
    return {"stories": len(texts),
            "ended": sum(ended and text.rstrip()[-1:] in tuple('.!?"')
                         for text, ended in stories) / len(texts),
            "words": statistics.mean(len(WORD.findall(x)) for x in texts),
            "hero": len(heroes),
            "kept": sum(is_kept(*x) for x in heroes),
            "quotes": sum(map(balances, texts)) / len(texts),
            "repeated": statistics.mean(map(repeated, texts))}


def generate(a, text, **more):
    """A story from its beginning: (text, whether it ended by itself)."""
    body = {"input": text, **({"model": a.model} if a.model else {}), **more}
    request = urllib.request.Request(
        a.url + "/generate", json.dumps(body).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as reply:
        item = json.load(reply)["data"][0]
    return text + item["text"], item["finish_reason"] == "stop"


def read_stories(path):
    """Stories of a file: an empty line between, a paragraph a line."""
    with open(path, encoding="utf-8") as f:
        return [x.strip() for x in f.read().split("\n\n") if x.strip()]


def show(a, name, stories):
    """One line of the table; the stories are kept where --keep says."""
    f = figures(stories)
    print(f"| {name} | {f['stories']} | {100 * f['ended']:.0f} | "
          f"{f['words']:.0f} | {f['kept']} of {f['hero']} | "
          f"{100 * f['quotes']:.0f} | {100 * f['repeated']:.1f} |", flush=True)
    if a.keep:
        os.makedirs(a.keep, exist_ok=True)
        with open(os.path.join(a.keep, name + ".txt"), "w",
                  encoding="utf-8") as out:
            out.write("\n\n".join(text for text, _ in stories) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--url", default="http://127.0.0.1:8080")
    p.add_argument("--model", default="")
    p.add_argument("--beginnings", required=True,
                   help="stories that the model has not seen")
    p.add_argument("--n", type=int, default=100)
    p.add_argument("--max-tokens", type=int, dest="max_tokens", default=480)
    p.add_argument("--keep", help="folder that keeps the stories")
    a = p.parse_args()
    unseen = read_stories(a.beginnings)[:a.n]
    print("| stories | number | ended, % | words | about their hero to the end "
          "| quotes balance, % | 4-grams repeated, % |\n"
          "|---|---|---|---|---|---|---|")
    show(a, "unseen", [(x, True) for x in unseen])
    show(a, "likeliest", [
        generate(a, SENTENCE.split(x)[0], temperature=0,
                 max_tokens=a.max_tokens) for x in unseen])
    show(a, "drawn", [generate(a, "", seed=i + 1, max_tokens=a.max_tokens)
                      for i in range(a.n)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
