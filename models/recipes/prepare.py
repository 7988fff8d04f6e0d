#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turn the raw data sets of ../shared/data into training files.

    python3 models/recipes/prepare.py --data ../shared/data
    python3 models/recipes/prepare.py --only sentiment,books

Standard library only; tunes need abc2midi, too (Debian's abcmidi). The files written, one record per line unless said
otherwise ("label text" means the label, one space, the text):

  sst.phrases.txt     label text: phrases and sentences of the training half
  sst.lm.txt          the sentences of the training half, for a language model
  sst.dev.txt         label text: the standard development file, as it is
  sst.test.txt        label text: the standard test file, as it is
  sst.test.detok.txt  label text: the test file the way people type
  imdb.sents.txt      label text: single sentences with their review's label
  imdb.unsup.sents.txt  single sentences of the unlabelled reviews
  imdb.lm.txt         reviews (labelled training half and unlabelled)
  imdb.train.txt      label text: the labelled training half
  imdb.chunks.txt     label text: the same cut into runs of whole sentences
  books.train.txt     paragraphs of 17 books
  books.valid.txt     paragraphs of The Time Machine and The Jungle Book
  books.test.txt      paragraphs of The War of the Worlds
  stories.train.txt   paragraphs of short stories (already lower case)
  bronte.train.txt    paragraphs of the collected Bronte works
  abc.train.txt       tunes in ABC notation, one blank line between two, each
                      in six keys (prepare_music.py)
  abc.valid.txt       the same, the tunes of one title in twenty
  translate.train.tsv language, English, translation: Tatoeba in fr, de, es
  translate.mixed.tsv these, some as people type, and texts of some sentences
  translate.valid.tsv the same, 1 % of the English sentences by their hash
  translate.test.tsv  the same, another 1.5 %; no English sentence, in whatever
                      case and punctuation, is in two of the files
  phonemes.train.tsv  letters with spaces between, phonemes of CMUdict (also
                      valid and test: the sets' own split, by words)
  dates.train.tsv     a date in some spelling, the ISO date; valid and test: one
                      ISO date in fifty each, in all its spellings
  addition.train.tsv  a sum, its value; valid and test: one question in fifty
                      each. Both sides are turned round in addition-reversed.*
  captions-de.train.tsv  English, German captions of Multi30k; captions-fr: in
                      French; valid and test (2016): the sets' own
  ptb.train.txt       sentences of the Penn Treebank (Mikolov's preparation)
                      without the spaces around them; valid and test: the set's
                      own split

Nothing here depends on the machine or on the order of a directory: one input
gives one output, byte for byte.
"""
import argparse
import gzip
import hashlib
import html
import lzma
import os
import random
import re
import sys
import unicodedata

import prepare_music

TEST_BOOKS = ("wells-war-of-the-worlds",)
VALID_BOOKS = ("kipling-jungle-book", "wells-time-machine")
TRAIN_BOOKS = (
    "alcott-little-women", "austen-emma", "austen-pride-and-prejudice",
    "baum-wizard-of-oz", "burnett-secret-garden",
    "carroll-alice-in-wonderland", "dickens-a-tale-of-two-cities",
    "dickens-great-expectations", "doyle-a-study-in-scarlet",
    "doyle-adventures-of-sherlock-holmes", "doyle-return-of-sherlock-holmes",
    "grahame-wind-in-the-willows", "grimm-fairy-tales",
    "lang-blue-fairy-book", "montgomery-anne-of-green-gables",
    "stevenson-treasure-island", "stoker-dracula")
TUNE_SEED = 20260

QUOTES = {
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2014": "--",
    "\u2015": "--", "\u2013": "-", "\u2012": "-", "\u2010": "-",
    "\u2011": "-", "\u2026": "...", "\u00a0": " ", "\u0085": " ",
    "\u0096": "-", "\u0097": "--", "\u0091": "'", "\u0092": "'",
    "\u0093": '"', "\u0094": '"', "\u00ad": "", "\ufeff": "",
    "\u00b4": "'", "\u0153": "oe", "\u0152": "Oe",
}
QUOTE_TABLE = {ord(k): v for k, v in QUOTES.items()}


def read_text(path):
    """The text of a plain, .gz or .xz file; lines end at LF only."""
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(
        os.path.splitext(path)[1], open)
    with opener(path, "rt", encoding="utf-8", newline="\n") as f:
        return f.read()


def read_lines(path):
    """Lines without their LF. str.splitlines would also cut at U+0085."""
    lines = read_text(path).split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return lines


def write_lines(out, name, lines):
    """Write lines, each ended by LF, and say how many there are."""
    lines = list(lines)
    with open(os.path.join(out, name), "w", encoding="utf-8",
              newline="\n") as f:
        for line in lines:
            f.write(line + "\n")
    print(f"{name}: {len(lines)} lines")


def ascii_quotes(text):
    """Typographic quotes, dashes and dots to their ASCII spelling."""
    return text.translate(QUOTE_TABLE)


def squeeze(text):
    """One space between words, none at the ends; drop control characters."""
    text = re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]", " ", text)
    return " ".join(text.split())


# ------------------------------------------------------------- sentiment ---

TEMPLATE = re.compile(
    r"\b(?:was|were|is|are) [\w'-]+ ?, not [\w'-]+ at all\b", re.I)
CLITICS = {"n't", "'s", "'re", "'ve", "'ll", "'d", "'m"}
CLOSERS = {".", ",", ";", ":", "!", "?", ")", "%", "...", "''"}


def label_text(lines):
    """(label, text) pairs of "label text" lines."""
    return [(line[0], line[2:].strip()) for line in lines if line]


def detokenise(text):
    """Tokenised text back to the way people type it.

    Quotes alternate between opening and closing; an apostrophe with no open
    single quote is a possessive and closes up with the word before it.
    """
    words = []
    glue_next = False
    open_double = open_single = False
    for word in text.split(" "):
        word = {"-lrb-": "(", "-rrb-": ")", "``": '"', "''": '"'}.get(
            word, word).replace("\\/", "/")
        glue_left = word in CLITICS or word in CLOSERS
        glue_right = word in ("(", "$", "#")
        if word == '"':
            glue_left, glue_right = open_double, not open_double
            open_double = not open_double
        elif word == "`":
            word, glue_right, open_single = "'", True, True
        elif word == "'":
            glue_left, open_single = True, False
        if words and (glue_left or glue_next):
            words[-1] += word
        else:
            words.append(word)
        glue_next = glue_right
    return " ".join(words)


def strip_markup(review):
    """A review as running text: no HTML, ASCII quotes, one line."""
    review = re.sub(r"<\s*/?\s*br\s*/?\s*>", " ", review, flags=re.I)
    review = re.sub(r"</?[a-zA-Z][^<>]{0,80}>", " ", review)
    return squeeze(ascii_quotes(html.unescape(review)))


def fold(text):
    """A key under which two copies of a review are equal."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def prepare_sst(data, out):
    """The SST files: phrases and training sentences, dev, test."""
    folder = os.path.join(data, "sst")
    dev = read_lines(os.path.join(folder, "stsa.binary.dev.txt"))
    test = read_lines(os.path.join(folder, "stsa.binary.test.txt"))
    held_out = {text for _, text in label_text(dev) + label_text(test)}
    lines = label_text(
        read_lines(os.path.join(folder, "glue.phrases.train.txt.gz")))
    seen = {text for _, text in lines}
    lines += [(label, text) for label, text in label_text(
        read_lines(os.path.join(folder, "stsa.binary.train.txt")))
        if text not in seen]
    kept = [f"{label} {text}" for label, text in lines
            if text and text not in held_out and not TEMPLATE.search(text)]
    print(f"sst: {len(lines) - len(kept)} held-out or template lines dropped")
    write_lines(out, "sst.phrases.txt", kept)
    write_lines(out, "sst.lm.txt", [text for _, text in label_text(
        read_lines(os.path.join(folder, "stsa.fine.train.txt")))
        if text not in held_out])
    write_lines(out, "sst.dev.txt", dev)
    write_lines(out, "sst.test.txt", test)
    write_lines(out, "sst.test.detok.txt",
                [f"{label} {detokenise(text)}"
                 for label, text in label_text(test)])


def chunks_of(text, least=50, most=5):
    """Runs of whole sentences of at least so many words, a few per text.

    The first and the last run are among them: a review often says its
    verdict there. What is left over at the end joins the run before it.
    """
    runs, run = [], []
    for sentence in re.split(r"(?<=[.!?])[\"')]*\s+", text):
        run += sentence.split()
        if len(run) >= least:
            runs.append(run)
            run = []
    if run and runs and len(run) < least // 2:
        runs[-1] += run
    elif run:
        runs.append(run)
    if len(runs) > most:
        runs = runs[:most - 2] + runs[-2:]
    return [" ".join(words) for words in runs]


def sentences_of(text, least=4, most=40):
    """The sentences of a text that have least..most words."""
    parts = re.split(r"(?<=[.!?])[\"')]*\s+", text)
    return [part for part in (squeeze(part) for part in parts)
            if least <= len(part.split()) <= most]


def prepare_imdb(data, out):
    """The IMDb files, without any review of the IMDb test half."""
    folder = os.path.join(data, "imdb")
    held_out = {fold(strip_markup(line.split("\t")[3]))
                for line in read_lines(os.path.join(folder, "test.tsv.gz"))}
    seen = set()
    labelled, unlabelled, reviews = [], [], []
    for line in read_lines(os.path.join(folder, "train.tsv.gz")):
        label, _, _, text = line.split("\t")
        text = strip_markup(text)
        key = fold(text)
        if key in held_out or key in seen or TEMPLATE.search(text):
            continue
        seen.add(key)
        labelled.append(f"{label} {text}")
        reviews.append(text)
    for line in read_lines(os.path.join(folder, "unsup.txt.xz")):
        text = strip_markup(line)
        key = fold(text)
        if key in held_out or key in seen or TEMPLATE.search(text):
            continue
        if key:
            seen.add(key)
            reviews.append(text)
            unlabelled.append(text)
    random.Random(TUNE_SEED).shuffle(reviews)
    write_lines(out, "imdb.train.txt", labelled)
    write_lines(out, "imdb.chunks.txt", [
        f"{label} {chunk}" for label, text in label_text(labelled)
        for chunk in chunks_of(text)])
    write_lines(out, "imdb.sents.txt", [
        f"{label} {sentence}" for label, text in label_text(labelled)
        for sentence in sentences_of(text)])
    write_lines(out, "imdb.unsup.sents.txt", [
        sentence for text in unlabelled for sentence in sentences_of(text)])
    write_lines(out, "imdb.lm.txt", reviews)


# ----------------------------------------------------------------- books ---

HEADING = re.compile(
    r"^(chapter|book|volume|part|adventure|letter|contents|table of contents"
    r"|the end|finis|preface|introduction|note|footnote|illustration)\b"
    r"[^a-z]{0,12}([\w' ,-]{0,60})?\.?$", re.I)
ENDS = tuple(".!?:;,\"')-*]")


def is_prose(paragraph):
    """False for headings, tables of contents, title pages and rules.

    Prose (and verse) has words in lower case and ends in punctuation;
    what fails either is set off by the printer and not by the author.
    """
    if not re.search(r"\b[a-z]{2,}\b", paragraph):
        return False
    if not paragraph.endswith(ENDS):
        return False
    if paragraph.startswith("[") or "Project Gutenberg" in paragraph:
        return False
    return not HEADING.match(paragraph)


def paragraphs_of(text):
    """Paragraphs with their hard-wrapped lines joined and marks stripped."""
    result = []
    for block in re.split(r"\n[ \t]*\n", ascii_quotes(text)):
        block = re.sub(r"_([^_]*)_", r"\1", block, flags=re.S)
        block = squeeze(block.replace("_", ""))
        block = re.sub(r"\[(?:Illustration|Footnote)?[^\]]{0,60}\]", "", block)
        block = re.sub(r"\s*\. \. \.( \.)?", "...", squeeze(block))
        if block and is_prose(block):
            result.append(block)
    return result


def repair_encoding(text):
    """Undo UTF-8 that was read as Windows-1252 and encoded again.

    The five bytes that Windows-1252 leaves undefined went through as they
    are, and lower-casing turned the letter that stands for E2 into another.
    """
    def undo(match):
        raw = bytearray()
        for ch in match.group(0):
            ch = "\u20ac" if ch == "\u20ac" else ch
            try:
                raw += ch.encode("cp1252")
            except UnicodeEncodeError:
                if ord(ch) > 255:
                    return match.group(0)
                raw.append(ord(ch))
        try:
            return bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            return {b"\xe2\x80": '"'}.get(bytes(raw[:2]), match.group(0))
    text = text.replace("\u00e3\u00a2\u00e2\u201a\u00ac", "\u00e2\u20ac")
    text = re.sub(r"\u00e2\u20ac.?", undo, text)
    return re.sub(r"\u00e2[\u00ab\u00bb]", '"', text)


def prepare_books(data, out):
    """The book files: paragraphs, split by whole books."""
    folder = os.path.join(data, "gutenberg")

    def paragraphs(names):
        lines = []
        for name in names:
            lines += paragraphs_of(
                read_text(os.path.join(folder, name + ".txt.gz")))
        return lines

    write_lines(out, "books.train.txt", paragraphs(TRAIN_BOOKS))
    write_lines(out, "books.valid.txt", paragraphs(VALID_BOOKS))
    write_lines(out, "books.test.txt", paragraphs(TEST_BOOKS))
    write_lines(out, "bronte.train.txt", paragraphs(["bronte-collected"]))
    stories = read_text(
        os.path.join(data, "tinystories", "lower.train.txt.gz"))
    lines = []
    for line in ascii_quotes(repair_encoding(stories)).split("\n"):
        line = squeeze(line)
        if line:
            lines.append(line)
    write_lines(out, "stories.train.txt", lines)


# ----------------------------------------------------------- translation ---

LANGUAGES = (("fr", "fra"), ("de", "deu"), ("es", "spa"))
HELD_OUT = (("test", 0.015), ("valid", 0.01))
MARKS = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"',
                       "\u201d": '"', "\u2026": "..."})


def key_of(text):
    """What is left of a sentence without case, accents and punctuation."""
    text = unicodedata.normalize("NFKD", text.casefold())
    return " ".join(re.findall(r"\w+", "".join(
        c for c in text if not unicodedata.combining(c))))


def part_of(key):
    """train, valid or test: a function of the English sentence alone."""
    digest = hashlib.sha256(key.encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name, share in HELD_OUT:
        if place < share:
            return name
        place -= share
    return "train"


def prepare_translate(data, out):
    """Tatoeba's pairs, split by the English side over all languages.

    In what is held out an English sentence is there once for a language, with
    the first of its translations, unless that is also the translation of
    another one in training ("He is", "He's"); in what is trained on with all
    of them.
    """
    parts = {"train": [], "valid": [], "test": []}
    targets, twice = set(), 0
    seen = set()
    for code, name in LANGUAGES:
        for line in read_lines(os.path.join(
                data, f"tatoeba-eng-{name}", f"eng-{name}.tsv.gz")):
            english, other = (
                squeeze(unicodedata.normalize("NFC", x.translate(MARKS)))
                for x in line.split("\t")[:2])
            key = key_of(english)
            part = part_of(key)
            row = (code, english, other)
            mark = (code, key) if part != "train" else row
            if not key or not other or mark in seen:
                twice += 1
                continue
            seen.add(mark)
            parts[part].append(row)
            if part == "train":
                targets.add((code, key_of(other)))
    print(f"translate: {twice} pairs dropped: held out and of the same "
          "English, or there already")
    for part, rows in parts.items():
        kept = [row for row in rows if part == "train" or
                (row[0], key_of(row[2])) not in targets]
        if part != "train":
            print(f"translate: {len(rows) - len(kept)} of {part} dropped: "
                  "their translation is one in training")
        write_lines(out, f"translate.{part}.tsv", map("\t".join, kept))
        if part == "train":
            write_lines(out, "translate.mixed.tsv",
                        map("\t".join, mix_translate(kept)))


def plain(rng, english, other):
    """A pair as people type: without its last mark, often in small letters."""
    end = english[-1]
    if end in ".!?" and other[-1] == end and rng.random() < 0.7:
        english, other = english.rstrip(end + " "), other.rstrip(end + " ")
        at = other.rfind({"?": "\u00bf", "!": "\u00a1"}.get(end, "\0"))
        if at >= 0:
            other = other[:at] + other[at + 1:]
    if rng.random() < 0.7:
        english = english.lower()
    return english, other


def mix_translate(rows, seed=1):
    """The pairs, an eighth of them as people type, and texts of 2 to 5 pairs
    in one language, an eighth as many: Tatoeba has single sentences alone."""
    rng = random.Random(seed)
    mixed = list(rows)
    for code, english, other in rows:
        if rng.random() < 0.125:
            pair = plain(rng, english, other)
            if all(pair) and pair[0] != english:
                mixed.append((code, *pair))
    for code, _ in LANGUAGES:
        own = [row for row in rows if row[0] == code]
        for _ in range(len(own) // 8):
            some = rng.sample(own, rng.randint(2, 5))
            texts = [" ".join(x) for x in list(zip(*some))[1:]]
            if all(len(x.split()) <= 40 for x in texts):
                mixed.append((code, *texts))
    return mixed


def prepare_phonemes(data, out):
    """CMUdict: words as letters, what they sound like as phonemes."""
    for part in ("train", "valid", "test"):
        rows = [line.split("\t") for line in read_lines(
            os.path.join(data, "cmudict", part + ".tsv.gz"))]
        write_lines(out, f"phonemes.{part}.tsv",
                    (" ".join(word) + "\t" + sound for word, sound in rows))


def held_out(key):
    """valid, test or train, by a hash of what must not be on two sides."""
    place = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 50
    return {0: "valid", 1: "test"}.get(place, "train")


def write_split(out, name, rows):
    """rows: (key, line) in the order of the data, a line once."""
    parts = {"train": [], "valid": [], "test": []}
    for key, line in dict.fromkeys(rows):
        parts[held_out(key)].append(line)
    for part, lines in parts.items():
        write_lines(out, f"{name}.{part}.tsv", lines)


def prepare_lecture(data, out):
    """Letters to phonemes, dates and sums: small tasks from text to text."""
    prepare_phonemes(data, out)
    folder = os.path.join(data, "seq2seq-synthetic")
    dates, sums, turned = [], [], []
    for line in read_lines(os.path.join(folder, "date.txt.gz")):
        text, iso = (x.strip() for x in line.split("_"))
        dates.append((iso, f"{text}\t{iso}"))
    for line in read_lines(os.path.join(folder, "addition.txt.gz")):
        text, value = (x.strip() for x in line.split("_"))
        sums.append((text, f"{text}\t{value}"))
        turned.append((text, f"{text[::-1]}\t{value[::-1]}"))
    write_split(out, "dates", dates)
    write_split(out, "addition", sums)
    write_split(out, "addition-reversed", turned)


def prepare_captions(data, out):
    """Multi30k: captions of pictures in English, German and French.

    The sets' own split (train, val, test 2016). Lines stay as they are but for
    white space: the references are those of the published scores.
    """
    names = (("train", "train"), ("valid", "val"),
             ("test", "test_2016_flickr"))
    for part, name in names:
        texts = {code: [squeeze(x) for x in read_lines(os.path.join(
            data, "multi30k", f"{name}.{code}.gz"))]
            for code in ("en", "de", "fr")}
        for code in ("de", "fr"):
            write_lines(out, f"captions-{code}.{part}.tsv",
                        map("\t".join, zip(texts["en"], texts[code],
                                           strict=True)))


def prepare_ptb(data, out):
    """The Penn Treebank, a sentence a line; a line's end is an entry, too."""
    for part in ("train", "valid", "test"):
        name = f"ptb.{part}.txt"
        path = os.path.join(data, "ptb", name)
        write_lines(out, name, [x.strip() for x in read_lines(
            path if os.path.exists(path) else path + ".gz")])


def main():
    """Parse the options and write the files that they ask for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--out", default="training/data")
    parser.add_argument("--only", default="sentiment,books,music,translate")
    args = parser.parse_args()
    parts = {"sentiment": (prepare_sst, prepare_imdb),
             "books": (prepare_books,), "music": (prepare_music.prepare,),
             "translate": (prepare_translate,),
             "lecture": (prepare_lecture,), "captions": (prepare_captions,),
             "ptb": (prepare_ptb,)}
    os.makedirs(args.out, exist_ok=True)
    for name in args.only.split(","):
        if name not in parts:
            parser.error(f"no such part: {name}")
        for step in parts[name]:
            step(args.data, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
