#!/bin/sh
# Train translate-en: one Transformer from English into French, German and
# Spanish (models/recipes/translate.md).
#
#   models/recipes/translate.sh OUT [more options of seqd-train]
#
# First on single sentences (OUT.first), then on these, some of them as people
# type, and on texts of several. Each part goes on where it was stopped.
# SHARED is the folder with data/, TRAIN the program. Options that follow win.
#
# SPDX-License-Identifier: MIT
set -eu

out=${1:?usage: translate.sh OUT [options of seqd-train]}
shift
shared=${SHARED:-../shared}
train=${TRAIN:-build/release/seqd-train}
files=training/data

if [ ! -e "$files/translate.mixed.tsv" ]; then
    python3 "$(dirname "$0")/prepare.py" --data "$shared/data" \
        --out "$files" --only translate
fi

part() { # to what folder, options
    to=$1
    shift
    if [ -e "$to/state.bin" ]; then set -- "$@" --resume; fi
    "$train" train --arch seq2seq-transformer --language-column \
        --valid "$files/translate.valid.tsv" --out "$to" --context 128 \
        --embedding 256 --heads 8 --inner 768 --layers 4 --decoder-layers 2 \
        --dropout 0.1 --label-smoothing 0.1 \
        --batch-tokens 3072 --optimizer adam --beta2 0.98 --schedule cosine \
        --average last --average-last 3 "$@"
}

part "$out.first" --data "$files/translate.train.tsv" --max-len 64 \
    --tokenizer bpe:5000 --lr 0.0012 --lr-end 0.02 --warmup 1000 \
    --epochs 10 --eval-every 913 "$@"
part "$out" --data "$files/translate.mixed.tsv" --max-len 120 \
    --init "$out.first" --vocab-from "$out.first" --lr 0.0004 --lr-end 0.03 \
    --warmup 200 --epochs 2 --eval-every 600 "$@"
