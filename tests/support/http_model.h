/* http_model: small checkpoints with random weights (fixed seed), made by the
 * HTTP tests where no fixture fits: words with a begin token, labels that
 * people know, weights that break.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_HTTP_MODEL_H
#define SEQD_HTTP_MODEL_H

struct http_model {
    int classifier; /* else a language model over words */
    int hidden;     /* width of everything */
    int layers;
    int bidirectional;
    int no_bos;      /* no begin token */
    const char *bad; /* this word's answer is not finite (an Elman net with
                        ReLU then); NULL: none */
};

/* http_model_make: write a checkpoint into the new folder `dir`. Language
 * models never choose their end token, so a generation runs to max_tokens.
 * 0 or -1 (message on standard error). */
int http_model_make(const char *dir, const struct http_model *m);
/* http_model_remove: the files that http_model_make wrote, and the folder. */
void http_model_remove(const char *dir);
/* http_model_word: i-th plain word of the vocabulary, NULL past the end. */
const char *http_model_word(int i);
/* http_models_dir: a new folder under /tmp; out is dir/name. */
int http_models_dir(char dir[64]);

#endif
