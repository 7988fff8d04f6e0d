/* metrics: one table of Prometheus metrics (prefix seqd_), atomics, any
 * thread. A labelled family keeps a small fixed set of series that grows on
 * first use and is capped (label values come from our own tables, never from
 * a client). The process-wide registry is the global that style.md allows.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_METRICS_H
#define SEQD_METRICS_H

#include "engine/base/buf.h"

/* X(id, kind, name, labels, buckets, help): labels is a comma list of label
 * names ("" for none), buckets is DURATION (seconds), SIZE (powers of two to
 * 1024) or NONE. */
#define METRICS(X)                                                             \
    X(REQUESTS, COUNTER, "requests_total", "model,task,code", NONE,            \
      "Requests answered")                                                     \
    X(REQUEST_DURATION, HISTOGRAM, "request_duration_seconds", "task",         \
      DURATION, "Time from the complete request to its answer")                \
    X(QUEUE_DURATION, HISTOGRAM, "queue_duration_seconds", "model", DURATION,  \
      "Time of an item between submission and its first step")                 \
    X(INFERENCE_DURATION, HISTOGRAM, "inference_duration_seconds", "model",    \
      DURATION, "Time of an item between its first step and its last")         \
    X(TIME_TO_FIRST_TOKEN, HISTOGRAM, "time_to_first_token_seconds", "model",  \
      DURATION, "Time of an item between submission and its first token")      \
    X(INTER_TOKEN_LATENCY, HISTOGRAM, "inter_token_latency_seconds", "model",  \
      DURATION, "Time between two tokens of one item")                         \
    X(BATCH_SIZE, HISTOGRAM, "batch_size", "model", SIZE,                      \
      "Sequences in one step")                                                 \
    X(QUEUE_DEPTH, GAUGE, "queue_depth", "model", NONE, "Items waiting")       \
    X(TOKENS, COUNTER, "tokens_total", "model,kind", NONE,                     \
      "Tokens read (prompt; of them cached: found in a shared prefix) and "    \
      "made (completion)")                                                     \
    X(PREFIX_HITS, COUNTER, "prefix_hits_total", "model", NONE,                \
      "Items whose text began with a shared prefix")                           \
    X(PREEMPTED, COUNTER, "preempted_total", "model", NONE,                    \
      "Times that an item gave its state up for others")                       \
    X(YIELDED, COUNTER, "yielded_total", "model", NONE,                        \
      "Times that an item let one of another client go first")                 \
    X(CLIENTS, GAUGE, "clients", "model", NONE,                                \
      "Clients with items that wait or run")                                   \
    X(STATE_PAGES, GAUGE, "state_pages", "model,kind", NONE,                   \
      "Pages of states: used by sequences, idle prefixes")                     \
    X(CANCELLED, COUNTER, "requests_cancelled_total", "reason", NONE,          \
      "Requests ended early: client_gone, deadline, drain")                    \
    X(UNREAD, GAUGE, "unread_answer_bytes", "", NONE,                          \
      "Bytes of answers that their clients have not read yet")                 \
    X(STREAMS_PAUSED, GAUGE, "streams_paused", "", NONE,                       \
      "Streams whose clients have to read before their text goes on")          \
    X(MODEL_MEMORY, GAUGE, "model_memory_bytes", "model", NONE,                \
      "Bytes of weights, packed weights and tables")                           \
    X(MODEL_LOAD, GAUGE, "model_load_duration_seconds", "model", NONE,         \
      "Time that loading took")                                                \
    X(LOG_LOST, COUNTER, "log_lines_lost_total", "", NONE,                     \
      "Lines of the log that nobody read in time, or no place took")           \
    X(RELOADS, COUNTER, "reloads_total", "what,result", NONE,                  \
      "What SIGHUP had read or opened again: api_keys, log_file; ok, failed")  \
    X(BUILD_INFO, GAUGE, "build_info", "version,kernels", NONE,                \
      "Always 1; the labels say what runs")

enum metric {
#define METRIC_ENUM(id, kind, name, labels, buckets, help) METRIC_##id,
    METRICS(METRIC_ENUM)
#undef METRIC_ENUM
        N_METRICS
};

/* A series: the metric with its label values fixed. metrics_series finds or
 * makes it (v1..v3 are the label values in order, NULL where there are
 * fewer); never NULL: when the cap (256 a metric) is reached, the overflow
 * series "other" is returned. Keep the pointer: using it is lock-free. */
struct metric_series;
struct metric_series *metrics_series(enum metric m, const char *v1,
                                     const char *v2, const char *v3);
void metric_add(struct metric_series *s, double v);     /* counter, gauge */
void metric_set(struct metric_series *s, double v);     /* gauge */
void metric_observe(struct metric_series *s, double v); /* histogram */
/* metric_count: observations of a histogram with value >= at_least; exact for
 * sizes, of durations only whole buckets above at_least are counted. */
uint64_t metric_count(const struct metric_series *s, double at_least);

/* metrics_write: the Prometheus text format 0.0.4, process_* included
 * (process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds,
 * process_start_time_seconds ...). */
int metrics_write(struct buf *out);

#endif
