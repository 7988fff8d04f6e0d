# SPDX-License-Identifier: MIT
"""The stages of checkpoints.py: what is trained, of what, in which order."""
from stage import Bundle, Figures, Run, Score, Served, Train

GENRES = ("talk", "facts", "news", "sentences", "posts", "reviews", "novels")
LABELS = "negative,neutral,positive"
# Sentiment: files and how much of each an epoch takes
OPINIONS = {"phrases": 0.5, "films": 1, "tweets": 1, "talk": 0.6, "mood": 0.6,
            "airline": 0.6, "gadgets": 0.6, "business": 1, "laptops": 1,
            "restaurants": 1, "restaurants-more": 1, "products": 1,
            "speaker": 1, "reviews-parts": 0.35, "facts": 0.4, "order": 0.5}
DOMAINS = ("films", "tweets", "talk", "mood", "airline", "gadgets", "business",
           "laptops", "restaurants", "products", "speaker", "imdb")


def mix(weights, kind="train.tsv"):
    """--data of files by their weights."""
    return ",".join(f"{{data}}/{name}.{kind}" + (f":{w:g}" if w != 1 else "")
                    for name, w in weights.items())


def dev(without=()):
    """The dev sets of all domains but these."""
    return ",".join(f"{{data}}/{name}.dev.tsv" for name in DOMAINS
                    if name not in without)


DEV = dev()


RNN = ("--embedding", "256", "--hidden", "512", "--layers", "2")
LM = ("--task", "lm", "--record", "line", "--shuffle", "1", "--softmax",
      "sampled", "--samples", "2048", "--beta2", "0.99", "--average", "ema",
      "--average-decay", "0.999")
VALID = ("--valid", ",".join(f"{{data}}/{g}.valid.txt" for g in GENRES
                             if g != "reviews"))
MINILM = ("--arch", "bert", "--embedding", "384", "--heads", "12", "--inner",
          "1536", "--context", "512")

CLASSIFIER = ("--task", "classifier", "--id2label", LABELS, "--weight-decay",
              "0.01", "--average", "ema", "--average-decay", "0.998")
# Files that teachers label: name, of which files, options of distil.py
SOFT = {
    "soft-films": ("phrases.train.tsv", "films.train.tsv", "--gold", "0.4"),
    "soft-domains": (*(f"{n}.train.tsv" for n in OPINIONS if n not in
                       ("phrases", "films", "reviews-parts")),
                     "--gold", "0.4", "--least", "0.1"),
    "soft-sentences": ("unlabelled-sentences.txt", "--most", "160000"),
    "soft-products": ("unlabelled-products.txt",),
    "soft-everyday": ("sentences.train.txt", "talk.train.txt",
                      "posts.train.txt", "--most", "15000"),
    "soft-parts": ("unlabelled-parts.txt", "--most", "15000"),
    "soft-whole": ("unlabelled-reviews.txt", "--most", "8000"),
}
STUDENT = ",".join("{data}/" + name for name in (
    "soft-films.tsv", "soft-domains.tsv", "soft-sentences.tsv:0.7",
    "soft-products.tsv:0.7", "soft-everyday.tsv:0.7", "soft-parts.tsv",
    "soft-whole.tsv:0.5", "reviews.train.tsv:0.4"))
# Temperatures come from what has three labels
CALIBRATE = ("--data", dev(("imdb", "products")), "--scaling", "vector",
             "--max-len", "512")

STAGES = {
    # ------------------------------------------------------------ the data
    "data-opinions": Run("{here}/opinions.py", "--data", "{shared}/data",
                         "--out", "{data}"),
    "data-texts": Run("{here}/texts.py", "--data", "{shared}/data", "--out",
                      "{data}"),
    "data-stories": Run("{here}/stories_data.py", "--data", "{shared}/data",
                        "--out", "{data}"),
    "minilm": Run("sh", "{shared}/models/get.sh", "{out}/from",
                  "all-minilm-l6-v2"),
    # ----------------------------------------------------------- sentiment
    "teacher": Train(
        "--task", "classifier", "--id2label", LABELS, *MINILM, "--layers",
        "6", "--init", "{out}/from/all-minilm-l6-v2", "--vocab-from",
        "{out}/from/all-minilm-l6-v2", "--data", mix(OPINIONS), "--valid",
        DEV, "--max-len", "192", "--batch", "32", "--lr", "0.0002",
        "--lr-scale-init", "0.45", "--warmup", "400", "--weight-decay",
        "0.01", "--dropout", "0.1", "--dropout-attention", "0.1",
        "--dropout-output", "0.1", "--epochs", "2", "--eval-every", "900",
        "--seed", "1"),
    "teacher-2": Train(
        *CLASSIFIER, "--warmup", "400", "--eval-every", "1500", "--valid", DEV,
        *MINILM, "--layers", "6", "--init", "{out}/teacher", "--vocab-from",
        "{out}/teacher", "--data",
        mix({**{n: 0.4 for n in OPINIONS}, "phrases": 1, "films": 2,
             "tweets": 1, "business": 1, "laptops": 1, "restaurants": 1,
             "restaurants-more": 0.7, "products": 1, "speaker": 1,
             "reviews-parts": 0.01, "reviews": 0.35, "facts": 0.2,
             "order": 0.3}),
        "--max-len", "384", "--batch", "32", "--lr", "0.00012", "--dropout",
        "0.1", "--dropout-attention", "0.1", "--dropout-output", "0.1",
        "--epochs", "1", "--seed", "2"),
    "teacher-3": Train(
        *CLASSIFIER, "--warmup", "100", "--eval-every", "400", "--valid", DEV,
        *MINILM, "--layers", "6", "--init", "{out}/teacher-2", "--vocab-from",
        "{out}/teacher-2", "--data",
        mix({"reviews": 1, "products": 1, "phrases": 0.2, "films": 0.5,
             "tweets": 0.25, "talk": 0.1, "mood": 0.1, "airline": 0.1,
             "gadgets": 0.1, "business": 0.3, "laptops": 0.5,
             "restaurants": 0.5, "speaker": 0.5, "facts": 0.05,
             "order": 0.1}),
        "--max-len", "384", "--batch", "32", "--lr", "0.0001", "--lr-end",
        "0.01", "--lr-layer", "0.9", "--dropout", "0.1",
        "--dropout-attention", "0.1", "--dropout-output", "0.1", "--epochs",
        "1", "--seed", "3"),
    **{name: Served(("t={out}/teacher-2",), "{here}/distil.py", "--teachers",
                    "t", *("{data}/" + x if x.endswith((".tsv", ".txt"))
                           else x for x in files),
                    "--out", "{data}/" + name + ".tsv")
       for name, files in SOFT.items()},
    "student-transformer": Train(
        *CLASSIFIER, "--warmup", "150", "--eval-every", "500", "--valid", DEV,
        *MINILM, "--layers", "4", "--init", "{out}/teacher-2", "--tokenizer",
        "bpe:9000", "--data", STUDENT, "--max-len", "384", "--batch", "96",
        "--optimizer", "muon", "--lr", "0.0006", "--lr-end", "0.01",
        "--dropout", "0.05", "--dropout-attention", "0.05",
        "--dropout-output", "0.1", "--epochs", "2", "--seed", "1"),
    "student-lstm": Train(
        *CLASSIFIER, "--warmup", "100", "--eval-every", "500", "--valid", DEV,
        *RNN, "--pooling", "concat", "--init", "{out}/lm-2", "--vocab-from",
        "{out}/lm", "--data", STUDENT + ",{data}/emoji.train.tsv",
        "--max-len", "512", "--batch", "192", "--optimizer", "muon", "--lr",
        "0.0025", "--lr-end", "0.01",
        "--lr-layer", "0.5", "--beta2", "0.99", "--dropout-embedding", "0.1",
        "--dropout", "0.1", "--dropout-output", "0.3",
        "--dropout-variational", "--dropout-word", "0.05", "--epochs", "2",
        "--seed", "1"),
    "lm": Train(
        *LM, "--valid", ",".join(f"{{data}}/{g}.valid.txt" for g in GENRES),
        "--tokenizer", "bpe:12000", *RNN, "--projection", "256", "--tie",
        "--data", mix({g: 0.5 if g == "reviews" else 1 for g in GENRES},
                      "train.txt"),
        "--batch", "64", "--bptt", "64", "--lr", "0.003", "--warmup", "300",
        "--lr-end", "0.03", "--weight-decay", "0.000001", "--clip", "0.5",
        "--dropout-embedding", "0.05", "--dropout", "0.1", "--dropout-output",
        "0.1", "--dropout-variational", "--epochs", "1", "--eval-every",
        "2000", "--seed", "1"),
    # one epoch for classifiers, three for next words
    **{name: Train(
        *LM, *VALID, *RNN, "--projection", "256", "--tie", "--init",
        "{out}/lm", "--vocab-from", "{out}/lm", "--apart", "--data",
        mix({g: 0.3 if g == "reviews" else 1 for g in GENRES}, "train.txt"),
        "--batch", "128", "--bptt", "64", "--optimizer", "muon", "--lr",
        "0.003", "--warmup", "200", "--lr-end", "0.02", "--weight-decay",
        "0.01", "--clip", "1", "--dropout-embedding", "0.05", "--dropout",
        "0.1", "--dropout-output", "0.1", "--dropout-variational",
        "--epochs", epochs, "--eval-every", "1500", "--seed", "2")
       for name, epochs in (("lm-2", "1"), ("lm-3", "3"))},
    "words-gpt": Train(
        *LM, *VALID, "--arch", "gpt2", "--embedding", "256", "--heads", "4",
        "--layers", "6", "--inner", "1024", "--context", "512",
        "--vocab-from", "{out}/lm", "--init", "{out}/lm-2", "--init-parts",
        "vocabulary", "--apart", "--data",
        mix({g: 0.15 if g == "reviews" else 1 for g in GENRES}, "train.txt"),
        "--batch", "32", "--bptt", "256", "--optimizer", "muon", "--lr",
        "0.002", "--warmup", "200", "--lr-end", "0.02", "--weight-decay",
        "0.01", "--clip", "1", "--epochs", "2", "--eval-every", "1500",
        "--seed", "1"),
    # ------------------------------------------------------ stories, tunes
    "stories": Train(
        "--task", "lm", "--record", "blank", "--apart", "--arch", "gpt2",
        "--embedding", "256", "--heads", "4", "--layers", "6", "--inner",
        "1024", "--context", "512", "--vocab-from", "{out}/lm", "--init",
        "{out}/words-gpt", "--data", "{data}/stories.train.txt", "--valid",
        "{data}/stories.valid.txt", "--shuffle", "1", "--softmax", "sampled",
        "--samples", "2048", "--batch", "8", "--bptt", "512", "--optimizer",
        "muon", "--lr", "0.001", "--beta2", "0.99", "--warmup", "100",
        "--lr-end", "0.02", "--weight-decay", "0.01", "--clip", "1",
        "--dropout", "0.1", "--dropout-embedding", "0.1", "--dropout-output",
        "0.1", "--average", "ema", "--average-decay", "0.998", "--epochs",
        "6", "--eval-every", "500", "--seed", "1"),
    "data-music": Run("{here}/prepare.py", "--data", "{shared}/data", "--out",
                      "{data}", "--only", "music"),
    "tunes": Train(
        "--task", "lm", "--tokenizer", "characters", "--record", "blank",
        "--shuffle", "1", "--data", "{data}/abc.train.txt", "--valid",
        "{data}/abc.valid.txt", "--vocab-size", "200", "--embedding", "64",
        "--hidden", "384", "--layers", "2", "--optimizer", "muon", "--beta2",
        "0.99", "--lr", "0.003", "--warmup", "100", "--lr-end", "0.02",
        "--weight-decay", "0.01", "--clip", "1", "--batch", "48", "--bptt",
        "160", "--epochs", "12", "--dropout", "0.25", "--dropout-output",
        "0.25", "--dropout-recurrent", "0.1", "--average", "ema",
        "--average-decay", "0.998", "--eval-every", "400", "--seed", "1"),
    # ------------------------------- as they are bundled, and their figures
    "sentiment-lstm": Bundle("student-lstm", calibrate=CALIBRATE),
    "sentiment-transformer": Bundle(
        "student-transformer", {"seqd_windows": {"length": 384}},
        calibrate=CALIBRATE),
    "next-word-lstm": Bundle("lm-3"),
    "next-word-gpt": Bundle("words-gpt"),
    "stories-gpt": Bundle("stories", generation={
        "do_sample": True, "temperature": 0.8, "top_p": 0.95,
        "max_new_tokens": 500}),
    "music-lstm": Bundle("tunes", {"seqd_constraint": "abc"}, generation={
        "do_sample": True, "temperature": 0.7, "top_p": 0.95,
        "max_new_tokens": 1500}),
    "kneser-ney": Score(
        "{here}/kneser_ney_parts.py", "--model", "{out}/lm", "--seqd",
        "{seqd}", *(x for g in GENRES
                    for x in ("--train", f"{{data}}/{g}.train.txt",
                              "--test", f"{{data}}/{g}.test.txt"))),
    **{"scores-" + name: Figures(
        name, "{here}/score_sentiment.py", "--table",
        *(f"{{data}}/{x}.test.tsv" for x in (*DOMAINS, "sst2")),
        "--pairs", "{here}/../../tests/golden/lecture/pairs.txt", "--pairs",
        "{here}/../../tests/golden/lecture/negation.txt")
       for name in ("sentiment-lstm", "sentiment-transformer")},
    **{"scores-" + name: Figures(
        name, "{here}/words_table.py", "--seqd", "{seqd}", "--dir",
        "{out}/" + name, "--kneser-ney", "{out}/kneser-ney.txt", "--fifty",
        "{here}/fifty.txt", *(f"{{data}}/{g}.test.txt" for g in GENRES))
       for name in ("next-word-lstm", "next-word-gpt")},
    "scores-stories-gpt": Figures(
        "stories-gpt", "{here}/score_stories.py", "--beginnings",
        "{data}/stories.test.txt"),
    "scores-music-lstm": Figures("music-lstm", "{here}/score_music.py",
                                 "--train", "{data}/abc.train.txt"),
}

# The trainer beside the literature: words of the Penn Treebank with the
# regularisers of AWD-LSTM (Merity et al. 2017), and a neural cache (Grave et
# al. 2017) with the constants of that paper's code. Nothing of it is bundled.
STAGES["data-ptb"] = Run("sh", "-c", "gzip -dc {shared}/data/ptb/ptb.train."
                         "txt.gz > {data}/ptb.train.txt")
STAGES["ptb"] = Train(
    "--task", "lm", "--tokenizer", "whitespace", "--record", "line", "--data",
    "{data}/ptb.train.txt", "--valid", "{shared}/data/ptb/ptb.valid.txt",
    "--embedding", "400", "--hidden", "700", "--layers", "2", "--projection",
    "400", "--tie", "--optimizer", "muon", "--lr", "0.003", "--lr-end", "0.01",
    "--warmup", "100", "--beta2", "0.99", "--weight-decay", "0.02", "--clip",
    "1", "--batch", "40", "--bptt", "70", "--bptt-random", "--dropout-word",
    "0.1", "--dropout-embedding", "0.4", "--dropout", "0.25",
    "--dropout-output", "0.4", "--dropout-recurrent", "0.5",
    "--dropout-variational", "--ar", "2", "--tar", "1", "--average", "ema",
    "--average-decay", "0.999", "--epochs", "40", "--seed", "1")
for _name, _cache in (("ptb-valid", ()), ("ptb-test", ()), ("ptb-test-cache", (
        "--cache-size", "500", "--cache-theta", "0.6625", "--cache-lambda",
        "0.1279"))):
    STAGES[_name] = Score(
        "{train}", "eval", "--model", "{out}/ptb", "--data",
        "{shared}/data/ptb/ptb." + _name.split("-")[1] + ".txt", *_cache)

# How a domain is answered that was never seen, and what the sets bring that are
# for non-commercial use: small classifiers of labelled texts alone, from the
# same language model, alike but for what they leave out.
NOT_FREE = ("airline", "business")
LEFT_OUT = {"none": (), "free": NOT_FREE, "films": (
    "films", "phrases", "reviews-parts"), "restaurants": (
        "restaurants", "restaurants-more"), **{n: (n,) for n in (
            "tweets", "talk", "mood", "airline", "gadgets", "business",
            "laptops", "products", "speaker")}}
for _left, _files in LEFT_OUT.items():
    STAGES["without-" + _left] = Train(
        *CLASSIFIER, "--warmup", "100", "--eval-every", "500", "--valid",
        dev(() if _left == "free" else (*_files, "imdb") if _left == "films"
            else _files), "--init", "{out}/lm-2", "--vocab-from", "{out}/lm",
        *RNN, "--pooling", "concat", "--data",
        mix({n: w / 3 for n, w in OPINIONS.items() if n not in _files}),
        "--max-len", "192", "--batch", "64", "--optimizer", "muon", "--lr",
        "0.002", "--lr-end", "0.01", "--lr-layer", "0.5", "--beta2", "0.99",
        "--dropout-embedding", "0.1", "--dropout-output", "0.3", "--epochs",
        "1", "--seed", "1")
    for _name in (DOMAINS if _left in ("none", "free") else (
            ("films", "imdb") if _left == "films" else (_left,))):
        STAGES[f"without-{_left}-on-{_name}"] = Score(
            "{train}", "eval", "--model", "{out}/without-" + _left, "--data",
            "{data}/" + _name + ".dev.tsv", "--max-len", "512",
            *(("--labels", "negative,positive")
              if _name in ("imdb", "products") else ()))

# What each bundled checkpoint needs, in order
LM_2 = ("data-opinions", "data-texts", "lm", "lm-2")
TEACHERS = ("data-opinions", "data-texts", "minilm", "teacher", "teacher-2",
            *SOFT)
NEEDS = {
    "sentiment-lstm": (*TEACHERS, *LM_2, "student-lstm", "sentiment-lstm",
                       "scores-sentiment-lstm"),
    "sentiment-transformer": (*TEACHERS, "student-transformer",
                              "sentiment-transformer",
                              "scores-sentiment-transformer"),
    "next-word-lstm": (*LM_2, "lm-3", "next-word-lstm", "kneser-ney",
                       "scores-next-word-lstm"),
    "next-word-gpt": (*LM_2, "words-gpt", "next-word-gpt", "kneser-ney",
                      "scores-next-word-gpt"),
    "stories-gpt": (*LM_2, "words-gpt", "data-stories", "stories",
                    "stories-gpt", "scores-stories-gpt"),
    "music-lstm": ("data-music", "tunes", "music-lstm", "scores-music-lstm"),
    "ptb": ("data-ptb", "ptb", "ptb-valid", "ptb-test", "ptb-test-cache"),
    "domains": (*LM_2, *(x for x in STAGES if x.startswith("without-"))),
}
