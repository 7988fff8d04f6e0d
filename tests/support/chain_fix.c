/* chain_fix: see chain_fix.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/chain_fix.h"

#include "tests/support/unit.h"

/* A page of the toy: its slots and its head (pages.h), which holds the ids. */
#define PAGE_COST ((size_t)256)

const struct fake_config chain = {
    .n_vocab = CHAIN_VOCAB, .chain = 1, .max_chain = 8};

void chain_open_paged(struct fix *f, int max_rows)
{
    struct fake_config paged = chain;

    paged.page = CHAIN_PAGE;
    fix_open(f, &paged,
             &(struct engine_options){.max_rows = max_rows,
                                      .state_bytes = CHAIN_PAGES * PAGE_COST});
}

void check_chain(const struct watched *j, int len, int tokens)
{
    const struct flat_result r = flat_result(j->job);

    assert_int_equal(j->final, JOB_DONE);
    assert_int_equal(r.n_tokens, tokens);
    for (int i = 0; i < tokens; i++)
        assert_int_equal(r.tokens[i], fix_words[len - 1] + 1 + i);
}
