#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Text to learn English from, by genre, in its own case.

    python3 models/recipes/texts.py --data ../shared/data

Writes to --out (training/data) GENRE.train.txt, .valid.txt and .test.txt, a
text a line (a paragraph, a turn, a review, a tweet), for the genres

  talk       dialogues, mails, letters, overheard talk, questions and answers
  facts      encyclopaedic sentences, trivia, true statements, word problems
  news       science, rural and world news, the Brown corpus
  sentences  the English sides of Tatoeba
  posts      tweets and comments without their labels
  reviews    film and product reviews without their labels
  novels     public-domain books
  stories    short stories, a story a line with its paragraphs kept by " \\n "

A document (what stands between blank lines; a review; a book) is in one part
alone: of 1,000, 15 are validation and 15 test by a hash; of the books whole
ones are (prepare.py). What is validation or test elsewhere (opinions.py) is in
none. Typographic quotes are ASCII. Standard library only; one input gives one
output, byte for byte.
"""
import argparse
import hashlib
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from opinions import SEED, part_of  # noqa
from prepare import (TEST_BOOKS, TRAIN_BOOKS, VALID_BOOKS, ascii_quotes,  # noqa
                     fold, paragraphs_of, read_lines, read_text, squeeze,
                     strip_markup)

VALID, TEST = 15, 30  # of 1,000
TALK = ("dialogue-sgd", "dialogue-taskmaster4", "web-ewt",
        "email-spamassassin-ham", "mixed-masc", "web-nltk-webtext")
FACTS = ("facts-creak-true", "facts-wikisplit", "trivia-opentriviaqa",
         "mathstories-gsm8k")
NEWS = ("news-abc", "news-ag", "balanced-brown")


def split_of(text):
    h = int(hashlib.sha256(b"texts " + fold(text).encode()).hexdigest()[:8],
            16) % 1000
    return "valid" if h < VALID else "test" if h < TEST else "train"


class Parts:
    """Lines of a genre, by part."""

    def __init__(self):
        self.lines = {"train": [], "valid": [], "test": []}

    def add(self, document):
        """Lines that belong together."""
        some = [squeeze(ascii_quotes(x)) for x in document]
        some = [x for x in some if x]
        if some:
            self.lines[split_of(" ".join(some))] += some

    def write(self, out, genre):
        for part, lines in self.lines.items():
            name = f"{genre}.{part}.txt"
            with open(os.path.join(out, name), "w", encoding="utf-8",
                      newline="\n") as f:
                f.writelines(x + "\n" for x in lines)
            words = sum(len(x.split()) for x in lines)
            print(f"{name}: {len(lines)} lines, {words} words")


def documents_of(text):
    """Lists of lines between blank lines, of at most some 200 words, so that
    a genre of one long document has all three parts."""
    for block in text.split("\n\n"):
        some, words = [], 0
        for line in block.split("\n"):
            some.append(line)
            words += len(line.split())
            if words > 200:
                yield some
                some, words = [], 0
        if some:
            yield some


def prepare_everyday(data, out):
    for genre, names in (("talk", TALK), ("facts", FACTS), ("news", NEWS)):
        parts = Parts()
        for name in names:
            for some in documents_of(read_text(os.path.join(
                    data, "everyday-english", name + ".txt.gz"))):
                parts.add(some)
        parts.write(out, genre)


def prepare_sentences(data, out):
    seen, parts = set(), Parts()
    for name in ("fra", "deu", "spa"):
        for line in read_lines(os.path.join(data, f"tatoeba-eng-{name}",
                                            f"eng-{name}.tsv.gz")):
            text = line.split("\t")[0]
            if text not in seen:
                seen.add(text)
                parts.add([text])
    for lines in parts.lines.values():
        random.Random(SEED).shuffle(lines)
    parts.write(out, "sentences")


def prepare_opinions(data, out):
    """Reviews and posts that are training data of opinions.py."""
    posts, reviews = Parts(), Parts()
    for name in ("sentiment-tweets/semeval-2016test",
                 "sentiment-tweets/us-airline",
                 "sentiment-tweets/kaggle-tweets",
                 "sentiment-tweets/sxsw-products", "goemotions/train"):
        for line in read_lines(os.path.join(data, name + ".tsv.gz")):
            text = line.split("\t")[1]
            if part_of(text) == "train":
                posts.add([text])
    held_out = {fold(strip_markup(line.split("\t")[3])) for line in read_lines(
        os.path.join(data, "imdb", "test.tsv.gz"))}
    seen = set()
    lines = [x.split("\t")[3] for x in read_lines(
        os.path.join(data, "imdb", "train.tsv.gz"))]
    lines = [x for x in lines if part_of(strip_markup(x)) != "dev"]
    lines += read_lines(os.path.join(data, "imdb", "unsup.txt.xz"))
    for name in ("amazon4", "alexa"):
        lines += [x.split("\t")[1] for x in read_lines(
            os.path.join(data, "amazon-reviews", name + ".tsv.gz"))
            if part_of(x.split("\t")[1]) == "train"]
    for line in lines:
        text = strip_markup(line)
        key = fold(text)
        if key and key not in held_out and key not in seen:
            seen.add(key)
            reviews.add([text])
    for parts, genre in ((posts, "posts"), (reviews, "reviews")):
        for lines in parts.lines.values():
            random.Random(SEED).shuffle(lines)
        parts.write(out, genre)


def prepare_novels(data, out):
    for part, books in (("train", TRAIN_BOOKS + ("bronte-collected",)),
                        ("valid", VALID_BOOKS), ("test", TEST_BOOKS)):
        lines = []
        for book in books:
            lines += paragraphs_of(read_text(os.path.join(
                data, "gutenberg", book + ".txt.gz")))
        name = f"novels.{part}.txt"
        with open(os.path.join(out, name), "w", encoding="utf-8",
                  newline="\n") as f:
            f.writelines(x + "\n" for x in lines)
        print(f"{name}: {len(lines)} lines, "
              f"{sum(len(x.split()) for x in lines)} words")


PARTS_OF = {"everyday": prepare_everyday, "sentences": prepare_sentences,
            "opinions": prepare_opinions, "novels": prepare_novels}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--out", default="training/data")
    parser.add_argument("--only", default=",".join(PARTS_OF))
    a = parser.parse_args()
    os.makedirs(a.out, exist_ok=True)
    for name in a.only.split(","):
        PARTS_OF[name](a.data, a.out)


if __name__ == "__main__":
    main()
