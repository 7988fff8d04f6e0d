/* SPDX-License-Identifier: MIT */
#include "models/train/net.h"
#include "tests/support/unit.h"

static void test_a_net_holds_eight_layers_of_each_family(void **state)
{
    static const struct {
        struct options o;
        int labels, n;
        const char *last;
    } rows[] = {
        {{.arch = ARCH_RNN, .bidirectional = 1}, 2, 67, "output.bias"},
        {{.arch = ARCH_GPT2}, 0, 100, "transformer.ln_f.bias"},
        {{.arch = ARCH_BERT}, 2, 137, "classifier.bias"},
        {{.arch = ARCH_BERT}, 0, 138, "cls.predictions.bias"},
        {{.arch = ARCH_BERT, .causal = 1}, 0, 138, "cls.predictions.bias"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct options o = rows[i].o;
        struct err e = ERR_INIT;
        struct net n;
        o.layers = 8;
        o.vocab_size = 9;
        o.embedding = o.hidden = o.context = 4;
        o.heads = 2;
        if (net_plan(&n, &o, rows[i].labels, &e) != 0)
            fail_msg("%s", e.msg);
        assert_int_equal(n.n_tensors, rows[i].n);
        assert_int_equal(net_find(&n, rows[i].last), rows[i].n - 1);
        net_fini(&n);
    }
}

static void test_a_full_table_takes_no_more_tensors(void **state)
{
    struct net n = {.family = NULL};
    for (int i = 0; i < NET_MAX_TENSORS; i++)
        assert_int_equal(net_add(&n, "a", 2, 3, 0), i);
    size_t reals = n.n;
    net_add(&n, "b", 2, 3, 0);
    assert_int_equal(n.n_tensors, NET_MAX_TENSORS);
    assert_int_equal(n.n, reals);
    assert_int_equal(net_find(&n, "b"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_net_holds_eight_layers_of_each_family),
        cmocka_unit_test(test_a_full_table_takes_no_more_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
