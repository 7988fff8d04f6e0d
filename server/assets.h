/* assets: files that are part of the binary, made by server/embed.py at build
 * time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ASSETS_H
#define SEQD_ASSETS_H

#include <stddef.h>

extern const unsigned char asset_page[]; /* web/, one HTML file */
extern const size_t asset_page_len;
extern const char asset_page_csp[];      /* with the hashes of its parts */
extern const unsigned char asset_docs[]; /* openapi.yaml as a page */
extern const size_t asset_docs_len;
extern const char asset_docs_csp[];
extern const unsigned char asset_icon[]; /* SVG */
extern const size_t asset_icon_len;
extern const unsigned char asset_openapi[]; /* openapi.yaml as JSON */
extern const size_t asset_openapi_len;

#endif
