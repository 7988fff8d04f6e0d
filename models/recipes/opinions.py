#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Training, development and test files of sentiment in many domains.

    python3 models/recipes/opinions.py --data ../shared/data

Writes to --out (training/data) for each domain DOMAIN.train.tsv, .dev.tsv and
.test.tsv, lines of LABEL TAB TEXT with the labels negative, neutral, positive:

  films      sentences of the Stanford Sentiment Treebank, of five labels made
             three, as people type them; phrases.train.tsv: the same and the
             nodes of its trees, half of them as they stand in the set (split,
             lower case)
  reviews    IMDb: whole reviews; reviews-parts.train.tsv: runs of sentences
  tweets, mood, airline, gadgets   tweets: SemEval, of everyday life, to
             airlines, about phones and apps
  talk       comments on Reddit (GoEmotions)
  business   sentences of business news
  restaurants, laptops   sentences of reviews
  products, speaker   reviews of four kinds of product, of a smart speaker
  sst2, imdb  .dev and .test with two labels, as they are published
  facts.train.tsv     plain statements, all neutral
  emoji.train.tsv     emoji, alone and with texts
  order.train.tsv     sentences made from templates with negation, none of
             those of tests/golden/lecture

A domain without a split of its own is split by a hash of its text: 5 in 100
are dev, 10 in 100 test (of films and reviews dev and test are the sets' own).
unlabelled-reviews.txt, -parts.txt, -sentences.txt: film reviews without a
label, runs of their sentences, and single ones; -products.txt: sentences of the
reviews of products, for teachers to label. Standard library only; one input
gives one output, byte for byte.
"""
import argparse
import hashlib
import os
import random
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from prepare import (TEMPLATE, ascii_quotes, chunks_of, detokenise,  # noqa
                     fold, read_lines, sentences_of, squeeze, strip_markup)

NAMES = ("negative", "neutral", "positive")
SEED = 2026
DEV, TEST = 5, 15  # of 100: below DEV is dev, below TEST test


def write_lines(out, name, lines):
    """Texts without a label."""
    with open(os.path.join(out, name), "w", encoding="utf-8",
              newline="\n") as f:
        f.writelines(x + "\n" for x in lines)
    print(f"{name}: {len(lines)} lines")


def part_of(text):
    """dev, test or train by a hash of the text without case and marks."""
    h = int(hashlib.sha256(fold(text).encode()).hexdigest()[:8], 16) % 100
    return "dev" if h < DEV else "test" if h < TEST else "train"


def write(out, name, rows):
    """LABEL TAB TEXT lines; how many of each label."""
    rows = [(label, squeeze(text)) for label, text in rows]
    rows = [(label, text) for label, text in rows if text]
    with open(os.path.join(out, name), "w", encoding="utf-8",
              newline="\n") as f:
        for label, text in rows:
            f.write(f"{label}\t{text}\n")
    n = {label: sum(1 for x, _ in rows if x == label) for label in NAMES}
    print(f"{name}: {len(rows)} lines, " + ", ".join(
        f"{n[label]} {label}" for label in NAMES))


def read_domain(data, *paths):
    """(label, text) of LABEL TAB TEXT files of numbers."""
    rows = []
    for path in paths:
        for line in read_lines(os.path.join(data, path)):
            cells = line.split("\t")
            rows.append((NAMES[int(cells[0])], cells[1]))
    return rows


def write_split(out, domain, rows):
    parts = {"train": [], "dev": [], "test": []}
    for label, text in rows:
        parts[part_of(text)].append((label, text))
    for part, some in parts.items():
        write(out, f"{domain}.{part}.tsv", some)


# ------------------------------------------------------------------- films ---

NODE = re.compile(r"\((\d) |([^()\s]+)|\)")


def nodes_of(tree):
    """(label 0 to 4, text) of each node of a tree, its root last."""
    nodes, stack = [], []
    for match in NODE.finditer(tree.replace("\u00a0", " ")):
        if match.group(1):
            stack.append([int(match.group(1)), []])
        elif match.group(2):
            stack[-1][1].append(match.group(2))
        else:
            label, words = stack.pop()
            nodes.append((label, " ".join(words)))
            if stack:
                stack[-1][1] += words
    return nodes


def three(label):
    return NAMES[0 if label < 2 else 1 if label == 2 else 2]


def prepare_films(data, out):
    """The Treebank: sentences, and phrases to train on."""
    folder = os.path.join(data, "sst")
    held_out = set()
    for part in ("dev", "test"):
        rows = []
        for line in read_lines(os.path.join(folder, f"stsa.fine.{part}.txt")):
            held_out.add(fold(line[2:]))
            rows.append((three(int(line[0])), detokenise(line[2:])))
        write(out, f"films.{part}.tsv", rows)
        write(out, f"sst2.{part}.tsv", [
            (NAMES[2 * int(line[0])], line[2:]) for line in
            read_lines(os.path.join(folder, f"stsa.binary.{part}.txt"))])
    rng = random.Random(SEED)
    sentences, phrases, seen = [], [], set()
    for line in read_lines(os.path.join(folder, "trees.fine.train.txt.gz")):
        nodes = nodes_of(line)
        if TEMPLATE.search(nodes[-1][1]):
            continue
        sentences.append(nodes[-1])
        for label, text in nodes[:-1]:
            key = fold(text)
            if key in seen or not key:
                continue
            seen.add(key)
            n = len(text.split())
            # most short phrases are neutral pieces of sentences
            if label != 2 or (n > 2 and rng.random() < 0.2):
                phrases.append((label, text))
    lower = [(int(x[0]), x[2:]) for x in read_lines(
        os.path.join(folder, "stsa.fine.train.txt"))]
    keep = [(label, text) for label, text in sentences
            if fold(text) not in held_out]
    write(out, "films.train.tsv",
          [(three(label), detokenise(text)) for label, text in keep])
    rows = [(three(label), detokenise(text)) for label, text in keep]
    rows += [(three(label), text) for label, text in lower
             if fold(text) not in held_out and not TEMPLATE.search(text)]
    for label, text in phrases:
        if fold(text) not in held_out and not TEMPLATE.search(text):
            rows.append((three(label), detokenise(text) if rng.random() < 0.5
                         else text.lower()))
    write(out, "phrases.train.tsv", rows)


# ----------------------------------------------------------------- reviews ---

def prepare_reviews(data, out):
    """IMDb: reviews, runs of sentences, what teachers may label."""
    folder = os.path.join(data, "imdb")
    test, held_out = [], set()
    for line in read_lines(os.path.join(folder, "test.tsv.gz")):
        label, _, _, text = line.split("\t")
        text = strip_markup(text)
        held_out.add(fold(text))
        test.append((NAMES[2 * int(label)], text))
    write(out, "imdb.test.tsv", test)
    seen, dev, train, parts = set(), [], [], []
    for line in read_lines(os.path.join(folder, "train.tsv.gz")):
        label, _, _, text = line.split("\t")
        text, label = strip_markup(text), NAMES[2 * int(label)]
        key = fold(text)
        if key in held_out or key in seen or TEMPLATE.search(text):
            continue
        seen.add(key)
        if part_of(text) == "dev":
            dev.append((label, text))
            continue
        train.append((label, text))
        parts += [(label, x) for x in chunks_of(text, 60, 4)]
    write(out, "imdb.dev.tsv", dev)
    write(out, "reviews.train.tsv", train)
    write(out, "reviews-parts.train.tsv", parts)
    whole, pieces, runs = [], [], []
    for line in read_lines(os.path.join(folder, "unsup.txt.xz")):
        text = strip_markup(line)
        key = fold(text)
        if not key or key in held_out or key in seen or TEMPLATE.search(text):
            continue
        seen.add(key)
        whole.append(text)
    rng = random.Random(SEED)
    for text in whole + [x for _, x in train]:
        some = sentences_of(text)
        pieces += rng.sample(some, min(4, len(some)))
    for text in whole:
        some = chunks_of(text, 80)
        runs += rng.sample(some, min(2, len(some)))
    rng.shuffle(pieces)
    rng.shuffle(runs)
    for name, lines in (("unlabelled-reviews.txt", whole),
                        ("unlabelled-parts.txt", runs),
                        ("unlabelled-sentences.txt", pieces)):
        write_lines(out, name, lines)


# ------------------------------------------------------------ other domains ---

DOMAINS = {
    "mood": ["sentiment-tweets/kaggle-tweets.tsv.gz"],
    "airline": ["sentiment-tweets/us-airline.tsv.gz"],
    "gadgets": ["sentiment-tweets/sxsw-products.tsv.gz"],
    "business": ["financial-phrasebank/sentences.tsv.gz"],
    "laptops": ["absa-reviews/laptops-semeval2014.tsv.gz"],
    "products": ["amazon-reviews/amazon4.tsv.gz"],
    "speaker": ["amazon-reviews/alexa.tsv.gz"],
}


def prepare_domains(data, out):
    """The sets that are read as they are, and sentences of the products'."""
    reviews = []
    for domain, paths in DOMAINS.items():
        rows = read_domain(data, *paths)
        write_split(out, domain, rows)
        if domain in ("products", "speaker"):
            reviews += [x for _, x in rows if part_of(x) == "train"]
    pieces = sorted({x for text in reviews for x in sentences_of(text)})
    random.Random(SEED).shuffle(pieces)
    write_lines(out, "unlabelled-products.txt", pieces)
    # sentences of two aspects have weak labels: to train on alone
    rows = read_domain(data, "absa-reviews/restaurants-semeval2014.tsv.gz")
    write_split(out, "restaurants", rows)
    write(out, "restaurants-more.train.tsv",
          read_domain(data, "absa-reviews/restaurants-mams.tsv.gz"))
    tweets = read_domain(data, "sentiment-tweets/semeval-2016test.tsv.gz")
    write(out, "tweets.train.tsv", [x for x in tweets
                                    if part_of(x[1]) != "test"])
    write(out, "tweets.test.tsv", [x for x in tweets
                                   if part_of(x[1]) == "test"])
    write(out, "tweets.dev.tsv",
          read_domain(data, "sentiment-tweets/semeval-dev.tsv.gz"))
    talk = read_domain(data, "goemotions/train.tsv.gz")
    write(out, "talk.train.tsv", [x for x in talk if part_of(x[1]) != "dev"])
    write(out, "talk.dev.tsv", [x for x in talk if part_of(x[1]) == "dev"])
    write(out, "talk.test.tsv", read_domain(data, "goemotions/dev.tsv.gz"))


# ------------------------------------------------------------ plain facts ---

FEELING = re.compile(
    r"\b(?:good|great|best|better|bad|worst|worse|love[ds]?|hate[ds]?|nice|"
    r"happ\w+|sad\w*|terribl\w+|awful\w*|wonder\w+|excellen\w+|perfect\w*|"
    r"enjoy\w*|sorry|thank\w*|please[ds]?|beautiful\w*|horribl\w+|fun|funny|"
    r"kill\w*|die[ds]?|dead|death|war|attack\w*|fail\w*|win|wins|won|poor\w*|"
    r"popular|famous|success\w*|cruel\w*|hurt\w*|pain\w*|angry|fear\w*|"
    r"favou?rite|amazing\w*|fantastic|problem\w*|injur\w+|crim\w+|murder\w*|"
    r"cool|awesome|glad|unfortunate\w*|wrong|mistake\w*|lost|lose\w*|damage\w*|"
    r"danger\w*|disease\w*|cancer|sick|ill|delicious|pleas\w+|welcome)\b", re.I)

WHO = ["The train", "The bus", "The ferry", "The flight", "The tram",
       "The night bus", "Our coach"]
PLACES = ["Leeds", "Hamburg", "Oslo", "the airport", "the harbour", "Lyon",
          "Central Station", "the museum", "Boston", "the north side"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
        "Sunday", "1 May", "the first of June", "weekdays"]
THINGS = ["The meeting", "The lecture", "The course", "The shop", "The library",
          "The office", "The pool", "The exhibition", "The class", "The market"]
GOODS = ["The box", "The parcel", "The kit", "The set", "The carton"]
PARTS = ["four screws", "a cable", "two batteries", "a manual", "12 eggs",
         "three sheets of paper", "a charger", "one adapter", "six cups"]
UNITS = ["kg", "cm", "litres", "metres", "grams", "inches", "GB"]
NOUNS = ["table", "bag", "screen", "room", "bottle", "cable", "shelf", "phone",
         "car", "window", "tank", "file"]
COLOURS = ["white", "black", "grey", "blue", "green", "brown", "red", "silver"]


def made_fact(rng):
    """One of the plain things that people write: times, contents, sizes."""
    time = f"{rng.randint(0, 23)}:{rng.choice(['00', '10', '15', '25', '30', '45', '50'])}"
    hour = f"{rng.randint(1, 12)} {rng.choice(['am', 'pm', 'a.m.', 'p.m.'])}"
    n = rng.randint(2, 90)
    forms = [
        lambda: f"{rng.choice(WHO)} to {rng.choice(PLACES)} departs at {time}"
                f"{rng.choice(['', f' from gate {n}', f' from stop {n}'])}.",
        lambda: f"{rng.choice(WHO)} arrives in {rng.choice(PLACES)} at {hour}.",
        lambda: f"{rng.choice(THINGS)} starts at {time} on {rng.choice(DAYS)}.",
        lambda: f"{rng.choice(THINGS)} is open from {hour} to {time}.",
        lambda: f"{rng.choice(THINGS)} is on floor {n % 9 + 1}.",
        lambda: f"{rng.choice(THINGS)} is closed on {rng.choice(DAYS)}.",
        lambda: f"{rng.choice(GOODS)} contains {rng.choice(PARTS)} and "
                f"{rng.choice(PARTS)}.",
        lambda: f"The {rng.choice(NOUNS)} weighs {n} {rng.choice(UNITS)}.",
        lambda: f"The {rng.choice(NOUNS)} is {n} {rng.choice(UNITS)} wide and "
                f"{rng.choice(COLOURS)}.",
        lambda: f"My {rng.choice(NOUNS)} is {rng.choice(COLOURS)}.",
        lambda: f"It has {n} pages and {n % 7 + 2} chapters.",
        lambda: f"I will be at {rng.choice(PLACES)} on {rng.choice(DAYS)} at "
                f"{hour}.",
        lambda: f"Your order number is {rng.randint(1000, 99999)}.",
        lambda: f"We ordered {rng.choice(PARTS)} on {rng.choice(DAYS)}.",
        lambda: f"Does {rng.choice(WHO).lower()} stop at "
                f"{rng.choice(PLACES)}?",
        lambda: f"What time does {rng.choice(THINGS).lower()} start?",
        lambda: f"The password has to have {n % 9 + 6} characters.",
        lambda: f"The report was published on {rng.choice(DAYS)}.",
        lambda: f"He lives in {rng.choice(PLACES)} and works on "
                f"{rng.choice(DAYS)}.",
        lambda: f"Please send the file to the office by {hour}.",
    ]
    return rng.choice(forms)()


def prepare_facts(data, out):
    """Neutral statements: read from sets without opinions, and made."""
    rng, rows = random.Random(SEED), []
    for name, most in (("facts-creak-true", 3000), ("facts-wikisplit", 5000),
                       ("mathstories-gsm8k", 2500),
                       ("trivia-opentriviaqa", 2500),
                       ("dialogue-sgd", 3500), ("dialogue-taskmaster4", 600),
                       ("news-ag", 1000)):
        lines = [ascii_quotes(re.sub(r"^[QA]: ", "", x)) for x in read_lines(
            os.path.join(data, "everyday-english", name + ".txt.gz"))]
        lines = [x for x in lines if 4 <= len(x.split()) <= 40
                 and not FEELING.search(x) and "!" not in x]
        rows += rng.sample(lines, min(most, len(lines)))
    rows += [made_fact(rng) for _ in range(3000)]
    rows = sorted(set(rows))
    rng.shuffle(rows)
    write(out, "facts.train.tsv", [("neutral", x) for x in rows])


# ---------------------------------------------------------- order of words ---

GOOD = ["good", "great", "nice", "lovely", "excellent", "clean", "fast",
        "helpful", "friendly", "tasty", "fresh", "comfortable", "easy", "clear",
        "useful", "reliable", "pleasant", "kind", "warm", "fair", "solid",
        "charming", "exciting", "cheap", "quiet", "bright", "polite", "sharp"]
BAD = ["bad", "awful", "terrible", "poor", "dirty", "slow", "rude", "unhelpful",
       "bland", "stale", "uncomfortable", "hard to use", "confusing", "useless",
       "unreliable", "unpleasant", "cold", "unfair", "weak", "annoying",
       "boring", "expensive", "noisy", "dark", "broken", "ugly", "cheap-looking"]
WHAT = ["food", "hotel", "staff", "film", "movie", "book", "phone", "battery",
        "service", "room", "plot", "acting", "camera", "driver", "waiter",
        "coffee", "laptop", "app", "seat", "view", "sound", "price", "soup",
        "ending", "bed", "shop", "game", "singer", "teacher", "keyboard"]


def made_order(rng):
    """A sentence whose label depends on a negation, and the label."""
    g, b, w = rng.choice(GOOD), rng.choice(BAD), rng.choice(WHAT)
    g2, b2, w2 = rng.choice(GOOD), rng.choice(BAD), rng.choice(WHAT)
    pos, neg = NAMES[2], NAMES[0]
    forms = [
        (f"The {w} is not {g}.", neg),
        (f"The {w} isn't {g}, it is {b}.", neg),
        (f"The {w} isn't {b}, it is {g}.", pos),
        (f"The {w} was anything but {g}.", neg),
        (f"The {w} was anything but {b}.", pos),
        (f"I expected the {w} to be {b}, but it was {g}.", pos),
        (f"I expected the {w} to be {g}, but it was {b}.", neg),
        (f"I thought the {w} would be {g}. It was {b}.", neg),
        (f"I thought the {w} would be {b}. It was {g}.", pos),
        (f"Not a {b} {w} by any means.", pos),
        (f"Not a {g} {w} by any means.", neg),
        (f"The {w} was never {b}.", pos),
        (f"The {w} was never {g}.", neg),
        (f"There is nothing {g} about the {w}.", neg),
        (f"There is nothing {b} about the {w}.", pos),
        (f"I can't say the {w} was {g}.", neg),
        (f"I can't complain, the {w} was {g}.", pos),
        (f"The {w} was {g} rather than {b}.", pos),
        (f"The {w} was {b} rather than {g}.", neg),
        (f"Far from {b}, the {w} was {g}.", pos),
        (f"Far from {g}, the {w} was {b}.", neg),
        (f"The {w} used to be {g}, now it is {b}.", neg),
        (f"The {w} used to be {b}, now it is {g}.", pos),
        (f"The {w} was {b} and the {w2} wasn't {g2} either.", neg),
        (f"The {w} was {g} and the {w2} wasn't {b2} either.", pos),
        (f"I don't think the {w} is {b}.", pos),
        (f"I don't think the {w} is {g}.", neg),
        (f"I did not like the {w}.", neg),
        (f"I didn't dislike the {w} at all.", pos),
        (f"Nobody would call the {w} {g}.", neg),
        (f"Nobody would call the {w} {b}.", pos),
        (f"The {w} could not have been more {g}.", pos),
        (f"The {w} could not have been more {b}.", neg),
        (f"{g}? No, the {w} is {b}.", neg),
        (f"{b}? No, the {w} is {g}.", pos),
        (f"The {w} was not {b} but {g}.", pos),
        (f"The {w} was not {g} but {b}.", neg),
        (f"The {w} is {g}, unlike the {w2}, which is {b}, but overall not "
         f"a {b2} choice.", pos),
        (f"The {w} was hardly {g}.", neg),
        (f"The {w} was hardly {b}.", pos),
    ]
    text, label = rng.choice(forms)
    text = text[0].upper() + text[1:]
    if rng.random() < 0.3:
        text = text.lower()
    if rng.random() < 0.3:
        text = text.rstrip(".")
    return label, text


def prepare_order(data, out):
    del data
    rng = random.Random(SEED)
    rows = sorted({made_order(rng) for _ in range(6000)})
    rng.shuffle(rows)
    write(out, "order.train.tsv",
          [x for x in rows if not TEMPLATE.search(x[1])])


# -------------------------------------------------------------------- emoji ---

EMOJI = {
    "positive": "😀 😃 😄 😁 😊 🙂 😍 🥰 😘 🤗 🎉 👍 👏 ❤️ 💕 💖 🥳 😎 🙌 💯 🌟 ⭐ ✨ 😋 "
                "🤩 💪 🏆 😇 💐 🌈 ☺️ 💙 💚 👌",
    "negative": "😡 😠 🤬 😢 😭 😞 😔 😟 🙁 ☹️ 😣 😖 😫 😩 😤 💔 👎 🤮 🤢 😒 🙄 😨 😰 😓 🤦 "
                "😑 😕 😿 😬 🤡 🚮 💩",
    "neutral": "🤔 📅 📍 📦 🚆 ✈️ 🏨 📞 📧 🕐 ☕ 🍕 🚗 🏠 📚 🎵 🔔 ➡️ ✅ 📷 💻 📱 🌍 🗓️ 👀 "
               "🚌 🛒 🔑 🍽️ 📝"}


def made_emoji(rng, texts):
    """Some of one kind by themselves, behind or before a text that says nothing
    or the same; those that say nothing leave a text its label."""
    label = rng.choice(NAMES)
    some = rng.choices(EMOJI[label].split(), k=rng.choice([1, 1, 1, 2, 3]))
    some = some[:1] * len(some) if rng.random() < 0.5 else some
    some = rng.choice(["", " "]).join(some)
    how = rng.random()
    if how < 0.15:
        return label, some
    if label == "neutral":
        label = rng.choice(NAMES)
        text = rng.choice(texts[label])
    else:
        text = rng.choice(texts[label if how < 0.55 else "neutral"])
    if how > 0.92:
        return label, some + " " + text
    return label, text + rng.choice([" ", " ", ""]) + some


def prepare_emoji(data, out):
    """Of texts that are there: plain statements, short reviews."""
    del data
    rng, texts = random.Random(SEED), {name: [] for name in NAMES}
    for name in ("facts", "restaurants", "speaker", "products", "films"):
        for line in read_lines(os.path.join(out, name + ".train.tsv")):
            label, text = line.split("\t")
            if len(text) < 120 and (name == "facts") == (label == "neutral"):
                texts[label].append(text)
    rows = sorted({made_emoji(rng, texts) for _ in range(6000)})
    rng.shuffle(rows)
    write(out, "emoji.train.tsv", rows)


PARTS_OF = {"films": prepare_films, "reviews": prepare_reviews,
            "domains": prepare_domains, "facts": prepare_facts,
            "order": prepare_order, "emoji": prepare_emoji}


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
