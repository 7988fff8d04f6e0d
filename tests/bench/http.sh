#!/usr/bin/env bash
# seqd's /sentiment beside the same LSTM in ONNX Runtime behind a Node server:
# makes the model (Debian's python3-torch), brings onnxruntime-node into an
# ignored folder, then http_compare.py measures. Arguments go to that program.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/../.."
out=build/bench
if [ ! -d tests/bench/node_modules/onnxruntime-node ]; then
    echo "installing onnxruntime-node" >&2
    npm install --prefix tests/bench --ignore-scripts --no-package-lock \
        --no-audit --no-fund --silent
fi
if [ ! -f $out/lstm/tokenizer.json ] ||
    [ tests/bench/http_model.py -nt $out/lstm/tokenizer.json ]; then
    mkdir -p $out
    /usr/bin/python3 tests/bench/http_model.py $out
fi
exec /usr/bin/python3 tests/bench/http_compare.py --model $out/lstm \
    --onnx $out/lstm.onnx "$@"
