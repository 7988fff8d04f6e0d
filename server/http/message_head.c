/* message_head: see message_head.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/message_head.h"

#include <string.h>
#include <strings.h>

/* 10^18 - 1 fits into int64_t. */
#define MAX_LENGTH_DIGITS 18

static int is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Two headers frame a body. A folded line (" x" under "Content-Length: 1")
 * comes out of libmicrohttpd 0.9.75 glued to the name, "Content-Lengthx", and
 * the body would be read as a second request: names that only begin like these
 * two are refused. */
static int looks_like_framing(const char *name)
{
    static const char *const names[] = {"Content-Length", "Transfer-Encoding"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (!strncasecmp(name, names[i], n) && name[n])
            return 1;
    }
    return 0;
}

void scan_add(struct scan *s, const char *name, const char *value)
{
    struct message_head *h = s->head;
    s->bad_name |= !*name;
    for (const char *p = name; *p; p++)
        s->bad_name |= !is_token_char((unsigned char)*p);
    s->folded |= looks_like_framing(name);
    for (const char *p = value; *p; p++)
        s->bad_value |= *p == '\r' || *p == '\n';
    if (!strcasecmp(name, "Content-Length")) {
        s->n_length++;
        s->length = value;
    } else if (!strcasecmp(name, "Transfer-Encoding")) {
        s->n_encoding++;
        s->encoding = value;
    } else if (!strcasecmp(name, "Host")) {
        s->n_host++;
    } else if (!strcasecmp(name, "Content-Type")) {
        s->n_type++;
        h->content_type = value;
    } else if (!strcasecmp(name, "Authorization")) {
        s->n_authorization++;
        h->authorization = value;
    } else if (!strcasecmp(name, "Origin")) {
        s->n_origin++;
        h->origin = value;
    } else if (!strcasecmp(name, "X-Request-Id")) {
        h->request_id = value;
    } else if (!strcasecmp(name, "Expect")) {
        h->expect = 1;
    } else if (!strcasecmp(name, "Access-Control-Request-Method")) {
        h->preflight = value;
    }
}

/* Two of these are two opinions. */
static const char *check_doubles(const struct scan *s)
{
    if (s->n_host > 1)
        return "more than one Host header";
    if (s->n_length > 1)
        return "more than one Content-Length header";
    if (s->n_encoding > 1)
        return "more than one Transfer-Encoding header";
    if (s->n_authorization > 1)
        return "more than one Authorization header";
    if (s->n_origin > 1)
        return "more than one Origin header";
    if (s->n_type > 1)
        return "more than one Content-Type header";
    return NULL;
}

static const char *check_length(const char *v)
{
    size_t n = strlen(v);
    if (n == 0 || strspn(v, "0123456789") != n)
        return "a Content-Length that is not a number";
    if (n > MAX_LENGTH_DIGITS)
        return "a Content-Length that is too large";
    return NULL;
}

const char *scan_end(struct scan *s, const char *version)
{
    const char *wrong = check_doubles(s);
    s->head->content_length = -1;
    s->head->chunked = s->n_encoding > 0;
    if (s->bad_name)
        wrong = "a header name has a character that is not allowed";
    else if (s->bad_value || s->folded)
        wrong = "a header value goes over more than one line";
    else if (!wrong && s->n_encoding && s->n_length)
        wrong = "both Content-Length and Transfer-Encoding";
    else if (!wrong && s->n_encoding && strcasecmp(s->encoding, "chunked"))
        wrong = "a Transfer-Encoding other than chunked";
    else if (!wrong && s->n_encoding && strcmp(version, "HTTP/1.1"))
        wrong = "Transfer-Encoding needs HTTP/1.1";
    if (!wrong && s->n_length)
        wrong = check_length(s->length);
    if (wrong || !s->n_length)
        return wrong;
    s->head->content_length = 0;
    for (const char *p = s->length; *p; p++)
        s->head->content_length = s->head->content_length * 10 + (*p - '0');
    return NULL;
}
