/* message_head: see message_head.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/http/message_head.h"

#include <string.h>
#include <strings.h>

/* 10^18 - 1 fits into int64_t. */
#define MAX_LENGTH_DIGITS 18
#define MAX_CHUNK_DIGITS 15
#define MAX_PORT 65535
#define MAX_EXTRA 4096 /* of a body: extensions and trailers, in all */

/* What headers say that may stand there once, and how often they do. */
struct scan {
    struct message_head *head;
    int n_length, n_encoding, n_host, n_authorization, n_origin, n_type;
    int expects_other;
    const char *length, *encoding, *host;
};

static int is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || is_letter(c) ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int is_control(unsigned char c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

static int is_hex(char c)
{
    return c && strchr("0123456789abcdefABCDEF", c);
}

int message_head_is_host(const char *s, size_t len)
{
    size_t n = 0;
    if (len > 0 && *s == '[') {
        n = 1 + strspn(s + 1, "0123456789abcdefABCDEF:.");
        if (n < 3 || n >= len || s[n++] != ']')
            return 0;
    }
    for (; *s != '[' && n < len && s[n] != ':'; n++)
        if (!(is_letter((unsigned char)s[n]) ||
              strchr("0123456789-._~!$&'()*+,;=%", s[n])) ||
            (s[n] == '%' &&
             (len - n < 3 || !is_hex(s[n + 1]) || !is_hex(s[n + 2]))))
            return 0;
    long port = 0;
    for (size_t i = n + 1; i < len && port <= MAX_PORT; i++) {
        if (s[i] < '0' || s[i] > '9')
            return 0;
        port = port * 10 + (s[i] - '0');
    }
    return n == len || (s[n] == ':' && port <= MAX_PORT);
}

/* --- where it ends --- */

/* A line ends with CR LF and nothing else, and only a tab may stand among the
 * characters as a control: told as soon as the byte is there. */
static long find_end(const char *p, size_t n, size_t *seen, const char **wrong)
{
    for (size_t i = *seen; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        int after_cr = i > 0 && p[i - 1] == '\r';
        if (after_cr != (c == '\n')) {
            *wrong = "a line that does not end with CR LF";
            return -1;
        }
        if (is_control(c) && c != '\r' && c != '\n') {
            *wrong = "a control character";
            return -1;
        }
        if (c == '\n' && i > 2 && p[i - 2] == '\n')
            return (long)i + 1;
    }
    *seen = n;
    return 0;
}

/* --- the request line --- */

/* The next word of a line, ended at `stop`. */
static char *cut(char **at, char stop)
{
    char *word = *at, *end = strchr(word, stop);
    if (!end)
        return NULL;
    *end = 0;
    *at = end + 1;
    return word;
}

/* Clients that take us for a proxy send "http://host/path": the Host header
 * says nothing then (RFC 9112, 3.2.2). The host moves a byte to the left, so
 * that both texts have an end. */
static const char *split_target(char *target, struct message_head *h)
{
    size_t n = !strncasecmp(target, "http://", 7)    ? 7
               : !strncasecmp(target, "https://", 8) ? 8
                                                     : 0;
    h->target = target;
    if (n == 0) /* a host:port, as for CONNECT, neither: we are no tunnel */
        return *target == '/' || !strcmp(target, "*") || strstr(target, "://")
                   ? NULL
                   : "a target that is neither a path nor a URL";
    char *host = target + n - 1;
    size_t len = strcspn(host + 1, "/");
    if (len == 0 || !message_head_is_host(host + 1, len))
        return "a target with a host that is no name or address of a host";
    h->target = host[1 + len] ? host + 1 + len : "/";
    h->host = memmove(host, host + 1, len);
    host[len] = 0;
    return NULL;
}

static const char *read_request_line(char *line, struct message_head *h)
{
    char *method = cut(&line, ' ');
    char *target = method ? cut(&line, ' ') : NULL;
    if (!target)
        return "a request line without a method, a target and a version";
    if (!*method || !*target)
        return "a request line without a method, a target and a version";
    /* RFC 9110 would allow any token; no method of today needs one. */
    for (const char *c = method; *c; c++)
        if (!is_letter((unsigned char)*c))
            return "a method of other characters than letters";
    h->method = method;
    for (const char *c = target; *c; c++)
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c > 0x7e || *c == '#')
            return "a character that a target may not have";
    size_t path = strcspn(target, "?"); /* nobody reads a query */
    for (size_t i = 0; i < path; i++)
        if (target[i] == '%' &&
            !(is_hex(target[i + 1]) && is_hex(target[i + 2])))
            return "a target with a % that no two hexadecimal digits follow";
    if (strcmp(line, "HTTP/1.1") != 0 && strcmp(line, "HTTP/1.0") != 0)
        return "a version of HTTP other than 1.1 and 1.0";
    char *query = target;
    h->query = cut(&query, '?') ? query : NULL;
    h->minor = line[7] - '0';
    return split_target(target, h);
}

/* --- header lines --- */

/* Is `word` one of a list with commas? */
static int lists(const char *value, const char *word)
{
    size_t n = strlen(word);
    while (*value) {
        value += strspn(value, ", \t");
        size_t k = strcspn(value, ", \t");
        if (k == n && strncasecmp(value, word, n) == 0)
            return 1;
        value += k;
    }
    return 0;
}

static void take_header(struct scan *s, const char *name, const char *value)
{
    struct message_head *h = s->head;
    if (!strcasecmp(name, "Content-Length")) {
        s->n_length++;
        s->length = value;
    } else if (!strcasecmp(name, "Transfer-Encoding")) {
        s->n_encoding++;
        s->encoding = value;
    } else if (!strcasecmp(name, "Host")) {
        s->n_host++;
        s->host = value;
    } else if (!strcasecmp(name, "Connection")) {
        h->closes |= lists(value, "close");
        if (h->minor == 0 && lists(value, "keep-alive"))
            h->closes &= ~2;
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
        s->expects_other |= strcasecmp(value, "100-continue") != 0;
    } else if (!strcasecmp(name, "Access-Control-Request-Method")) {
        h->preflight = value;
    }
}

/* A line without its end: name ":" OWS value OWS. */
static const char *read_header(char *line, char **name, char **value)
{
    size_t n = 0;
    if (*line == ' ' || *line == '\t')
        return "a header value that goes over more than one line";
    while (is_token_char((unsigned char)line[n]))
        n++;
    if (n == 0 || line[n] != ':')
        return "a header name has a character that is not allowed";
    line[n] = 0;
    *name = line;
    line += n + 1;
    line += strspn(line, " \t");
    n = strlen(line);
    while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
        n--;
    line[n] = 0;
    *value = line;
    return NULL;
}

/* --- what they say together --- */

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

static const char *read_length(const char *v, int64_t *length)
{
    size_t n = strlen(v);
    if (n == 0 || strspn(v, "0123456789") != n)
        return "a Content-Length that is not a number";
    if (n > MAX_LENGTH_DIGITS)
        return "a Content-Length that is too large";
    for (*length = 0; *v; v++)
        *length = *length * 10 + (*v - '0');
    return NULL;
}

static const char *check_framing(struct scan *s)
{
    struct message_head *h = s->head;
    h->chunked = s->n_encoding > 0;
    if (s->n_host == 0 && h->minor > 0)
        return "a request without a Host header";
    if (s->host && !message_head_is_host(s->host, strlen(s->host)))
        return "a Host header that is no name or address of a host";
    if (!h->host)
        h->host = s->host;
    if (s->expects_other)
        return "an Expect other than 100-continue";
    if (s->n_encoding && s->n_length)
        return "both Content-Length and Transfer-Encoding";
    if (s->n_encoding && strcasecmp(s->encoding, "chunked") != 0)
        return "a Transfer-Encoding other than chunked";
    if (s->n_encoding && h->minor == 0)
        return "Transfer-Encoding needs HTTP/1.1";
    return s->n_length ? read_length(s->length, &h->content_length) : NULL;
}

static const char *read_lines(char *p, struct message_head *h)
{
    struct scan s = {.head = h};
    char *line = cut(&p, '\r'), *name, *value;
    const char *wrong = read_request_line(line, h);
    h->closes = h->minor == 0 ? 2 : 0; /* 2: unless it says keep-alive */
    while (!wrong) {
        line = cut(&p, '\r'); /* p was at the LF */
        if (!line[1])
            break;
        wrong = read_header(line + 1, &name, &value);
        if (!wrong)
            take_header(&s, name, value);
    }
    wrong = wrong ? wrong : check_doubles(&s);
    return wrong ? wrong : check_framing(&s);
}

long message_head_read(char *p, size_t n, size_t *seen, struct message_head *h,
                       const char **wrong)
{
    memset(h, 0, sizeof *h);
    h->content_length = -1;
    h->minor = 1;
    long end = find_end(p, n, seen, wrong);
    if (end <= 0)
        return end;
    *wrong = read_lines(p, h);
    return *wrong ? -1 : end;
}

/* --- chunks --- */

enum {
    SIZE, /* a chunk begins */
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* a line begins behind the last chunk */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF
};

static int hex_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A byte of the line with a chunk's size. NULL, or what is wrong. */
static const char *take_size(struct chunks *c, char b)
{
    int digit = hex_of(b);
    if (c->state == SIZE && digit >= 0) {
        if (++c->digits > MAX_CHUNK_DIGITS)
            return "a chunk that is too large";
        c->left = c->left * 16 + (unsigned)digit;
    } else if (c->state == SIZE_LF) {
        if (b != '\n')
            return "a line of a chunk that does not end with CR LF";
        c->state = c->left ? DATA : TRAILER;
    } else if (c->digits == 0) {
        return "a chunk without a size";
    } else if (b == '\r') {
        c->state = SIZE_LF;
    } else if (c->state == SIZE && b != ';') {
        return "a size of a chunk that is not a number";
    } else if (is_control((unsigned char)b)) {
        return "a control character in a chunk's extension";
    } else {
        c->state = EXTENSION;
        if (++c->extra > MAX_EXTRA)
            return "extensions of chunks that are too long";
    }
    return NULL;
}

/* Who puts a trailer into the head, as programs before us may, would read
 * another request: what frames and routes it, who asks, what its body is (RFC
 * 9110, 6.5.1). */
static int belongs_into_head(const struct chunks *c)
{
    static const char *const names[] = {"authorization",
                                        "connection",
                                        "content-encoding",
                                        "content-length",
                                        "content-type",
                                        "expect",
                                        "host",
                                        "origin",
                                        "te",
                                        "transfer-encoding"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == c->n_name &&
            strncasecmp(names[i], c->name, c->n_name) == 0)
            return 1;
    return 0;
}

static void add_to_name(struct chunks *c, char b)
{
    if (c->state == TRAILER)
        c->n_name = 0;
    if (c->n_name < sizeof c->name)
        c->name[c->n_name] = b;
    c->n_name++;
    c->state = TRAILER_NAME;
}

/* A byte behind the last chunk: lines that nobody asked for, dropped, then an
 * empty one. */
static const char *take_trailer(struct chunks *c, char b, int *end)
{
    if (++c->extra > MAX_EXTRA)
        return "trailers that are too long";
    if (c->state == TRAILER_LF || c->state == LAST_LF) {
        if (b != '\n')
            return "a trailer that does not end with CR LF";
        *end = c->state == LAST_LF;
        c->state = TRAILER;
    } else if (b == '\r' && c->state != TRAILER_NAME) {
        c->state = c->state == TRAILER ? LAST_LF : TRAILER_LF;
    } else if (c->state == TRAILER_VALUE) {
        if (is_control((unsigned char)b))
            return "a control character in a trailer";
    } else if (b == ':' && c->state == TRAILER_NAME) {
        if (belongs_into_head(c))
            return "a trailer that belongs into the head";
        c->state = TRAILER_VALUE;
    } else if (is_token_char((unsigned char)b)) {
        add_to_name(c, b);
    } else {
        return "a trailer without a name";
    }
    return NULL;
}

/* A byte that is not data. */
static const char *take_byte(struct chunks *c, char b, int *end)
{
    if (c->state >= TRAILER)
        return take_trailer(c, b, end);
    if (c->state != DATA_CR && c->state != DATA_LF)
        return take_size(c, b);
    if (b != (c->state == DATA_CR ? '\r' : '\n'))
        return "a chunk that does not end with CR LF";
    c->state = c->state == DATA_CR ? DATA_LF : SIZE;
    c->digits = 0;
    return NULL;
}

long chunks_read(struct chunks *c, const char *p, size_t n, size_t *data,
                 int *end, const char **wrong)
{
    size_t i = 0;
    *data = 0;
    *end = 0;
    while (i < n && !*end && c->state != DATA) {
        *wrong = take_byte(c, p[i++], end);
        if (*wrong)
            return -1;
    }
    if (c->state == DATA && i < n) {
        *data = n - i < c->left ? n - i : (size_t)c->left;
        c->left -= *data;
        i += *data;
        if (c->left == 0)
            c->state = DATA_CR;
    }
    return (long)i;
}
