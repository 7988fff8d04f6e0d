#!/bin/sh
# Train translate-en: one Transformer from English into French, German and
# Spanish (models/recipes/translate.md).
#
#   models/recipes/translate.sh OUT [more options of seqd-train]
#
# SHARED is the folder with data/, TRAIN the program. Options that follow win.
#
# SPDX-License-Identifier: MIT
set -eu

out=${1:?usage: translate.sh OUT [options of seqd-train]}
shift
shared=${SHARED:-../shared}
train=${TRAIN:-build/release/seqd-train}
files=training/data

if [ ! -e "$files/translate.test.tsv" ]; then
    python3 "$(dirname "$0")/prepare.py" --data "$shared/data" \
        --out "$files" --only translate
fi
exec "$train" train --arch seq2seq-transformer --language-column \
    --data "$files/translate.train.tsv" --valid "$files/translate.valid.tsv" \
    --out "$out" --max-len 64 --context 128 \
    --embedding 192 --heads 6 --inner 768 --layers 4 --decoder-layers 2 \
    --dropout 0.1 --dropout-embedding 0.1 --label-smoothing 0.1 \
    --batch-tokens 4096 --optimizer adam --beta2 0.98 --lr 0.002 \
    --schedule inverse-sqrt --warmup 4000 \
    --epochs 20 --eval-every 2000 --average last --average-last 5 "$@"
