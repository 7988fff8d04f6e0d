#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whole short stories in case, a story a record.

    python3 models/recipes/stories_data.py --data ../shared/data

Of the TinyStories excerpt a fifth has its case; the rest is lower case and gets
it back here: first words of sentences, names, "I", and what the fifth writes
with a capital after the same word. How well that does is printed, measured on
the last tenth of the fifth (which is learned from as well, afterwards). Writes
to --out (training/data) stories.train.txt, stories.valid.txt and
stories.test.txt: stories with an empty line between, a paragraph a line
(`--record blank` of seqd-train). Valid and test are halves of the set's own
validation part. Standard library only; one input gives one output.
"""
import argparse
import os
import re
import sys
from collections import Counter, defaultdict

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from prepare import (ascii_quotes, read_lines, read_text, repair_encoding,  # noqa
                     squeeze)

BORDER = re.compile(r"(?<!\n)\n(?!\n)")
WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*|\s+|[^A-Za-z\s]+")


def stories_of(text):
    """Lists of paragraphs; a single line end is the border of two stories."""
    stories = []
    for story in BORDER.split(ascii_quotes(repair_encoding(text))):
        some = [squeeze(x) for x in story.split("\n\n")]
        some = [x for x in some if x]
        if some:
            stories.append(some)
    return stories


class Caser:
    """Capitals inside sentences: by the word and the one before it."""

    def __init__(self, stories, others):
        """others: texts that tell of words that the stories do not have."""
        self.word = defaultdict(Counter)
        self.pair = defaultdict(Counter)
        self.other = defaultdict(Counter)
        for story in stories:
            for paragraph in story:
                for before, word, starts in words_of(paragraph):
                    if not starts:
                        capital = word[0].isupper()
                        self.word[word.lower()][capital] += 1
                        self.pair[before, word.lower()][capital] += 1
        for text in others:
            for _, word, starts in words_of(text):
                if not starts:
                    self.other[word.lower()][word[0].isupper()] += 1

    def capital(self, before, word, names):
        if word in names or word == "i" or word.startswith("i'"):
            return True
        seen = self.pair.get((before, word))
        if seen is None or sum(seen.values()) < 3:
            seen = self.word.get(word)
        if seen is None:
            seen = self.other.get(word)
        return seen is not None and seen[True] > seen[False]

    def story(self, paragraphs):
        """A lower-case story in case."""
        names = set(re.findall(r"\b(?:named|called) ([a-z]+)",
                               " ".join(paragraphs)))
        names = {x for x in names if not self.word[x][False] > 2}
        result = []
        for paragraph in paragraphs:
            out, at = [], 0
            for match, (before, word, starts) in zip(
                    (m for m in WORD.finditer(paragraph)
                     if m.group()[0].isalpha()), words_of(paragraph)):
                out.append(paragraph[at:match.start()])
                if starts or self.capital(before, word, names):
                    word = word[0].upper() + word[1:]
                out.append(word)
                at = match.end()
            out.append(paragraph[at:])
            result.append("".join(out))
        return result


def words_of(paragraph):
    """(the word before in lower case, word, does it begin a sentence?)"""
    before, starts, quoted, last = "", True, False, " "
    for piece in WORD.findall(paragraph):
        if piece[0].isalpha():
            yield before, piece, starts
            before, starts = piece.lower(), False
        elif not piece.isspace():
            for mark in piece:
                if mark in ".!?":
                    starts = True
                elif mark == '"':
                    quoted = not quoted
                    # what is said begins with a capital; after its end the
                    # sentence goes on unless a stop came before
                    starts = quoted or (starts and piece[-2:-1] == ".")
                elif mark == ",":
                    starts = False
            if piece == "'" and last.isspace():
                starts = True
            before = piece[-1]
        last = piece


def measure(caser, stories):
    right = total = 0
    for story in stories:
        made = caser.story([x.lower() for x in story])
        for a, b in zip(" ".join(story), " ".join(made)):
            if a.isupper() or b.isupper():
                total += 1
                right += a == b
    print(f"capitals: {right} of {total} right "
          f"({100 * right / total:.2f} %), on stories not learned from")


def write(out, name, stories):
    with open(os.path.join(out, name), "w", encoding="utf-8",
              newline="\n") as f:
        f.write("\n\n".join("\n".join(x) for x in stories) + "\n")
    words = sum(len(x.split()) for story in stories for x in story)
    print(f"{name}: {len(stories)} stories, {words} words")


def is_whole(story):
    """Ends as a sentence does, and is no fragment."""
    text = " ".join(story)
    return len(text.split()) >= 50 and text.rstrip("'\")")[-1:] in ".!?"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--out", default="training/data")
    a = parser.parse_args()
    folder = os.path.join(a.data, "tinystories")
    cased = stories_of(read_text(os.path.join(folder, "cased.txt")))
    lower = stories_of(read_text(os.path.join(folder, "lower.train.txt.gz")))
    valid = stories_of(read_text(os.path.join(folder, "lower.valid.txt")))
    cut = len(cased) * 9 // 10
    others = [line for name in ("balanced-brown", "mixed-masc", "web-ewt")
              for line in read_lines(os.path.join(
                  a.data, "everyday-english", name + ".txt.gz"))]
    measure(Caser(cased[:cut], others), cased[cut:])
    caser = Caser(cased, others)
    known = {" ".join(x).lower() for x in cased}
    # the last cased story is cut off, and goes on in the other file
    stories = cased[:-1] + [caser.story(x) for x in lower
                            if " ".join(x) not in known]
    held = [x for x in (caser.story(y) for y in valid) if is_whole(x)]
    write(a.out, "stories.train.txt", [x for x in stories if is_whole(x)])
    write(a.out, "stories.valid.txt", held[::2])
    write(a.out, "stories.test.txt", held[1::2])


if __name__ == "__main__":
    main()
