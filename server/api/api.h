/* api: the handlers that route.c lists; one file per endpoint. See route.h
 * for what they return.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_API_H
#define SEQD_API_H

#include "server/http/request.h"

int api_predict(struct request *r);
int api_predict_finish(struct request *r);
size_t api_predict_size(const struct request *r);
int api_sentiment(struct request *r);
int api_classify(struct request *r);
int api_classify_finish(struct request *r);
size_t api_classify_size(const struct request *r);
int api_embeddings(struct request *r);
int api_embeddings_finish(struct request *r);
size_t api_embeddings_size(const struct request *r);
int api_generate(struct request *r);
int api_generate_finish(struct request *r);
size_t api_generate_size(const struct request *r);
void api_generate_last(struct request *r, const struct item *it,
                       const struct job *j, struct buf *out);
int api_translate(struct request *r);
int api_translate_finish(struct request *r);
size_t api_translate_size(const struct request *r);
void api_translate_last(struct request *r, const struct item *it,
                        const struct job *j, struct buf *out);
int api_tokenize(struct request *r);
int api_detokenize(struct request *r);
int api_models(struct request *r);
int api_model(struct request *r);
int api_livez(struct request *r);
int api_readyz(struct request *r);
int api_metrics(struct request *r);
int api_info(struct request *r);
int api_version(struct request *r);
int api_openapi(struct request *r);
int api_page(struct request *r);
int api_docs(struct request *r);
int api_icon(struct request *r);

#endif
