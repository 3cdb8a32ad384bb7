/* names.c: names of codes, ISAs, machines and hyper-parameters. */
#include "driver.h"

#include <stdio.h>
#include <string.h>

/* Whether a function names all codes below n, each differently, and none past the end. */
static void check_list(const char *(*name)(int), int n, const char *what) {
    for (int i = 0; i < n; ++i) {
        CHECK(name(i) != NULL && *name(i) != 0, "%s %d", what, i);
        for (int k = 0; k < i && name(i) != NULL; ++k)
            CHECK(strcmp(name(i), name(k)) != 0, "%s %d and %d: %s", what, k, i, name(i));
    }
    CHECK(name(n) == NULL && name(-1) == NULL, "%s past the end", what);
}

/* Calls through the macros of driver_calls.h, which pointers to functions would go around. */
static const char *loss_name(int i) { return fastbp_loss_name(i); }
static const char *activation_name(int i) { return fastbp_activation_name(i); }
static const char *rule_name(int i) { return fastbp_rule_name(i); }
static const char *operation_name(int i) { return fastbp_operation_name(i); }
static const char *hyper_name(int i) { return fastbp_hyper_name(i); }
static const char *element_name(int i) { return i < 0 ? NULL : fastbp_element_name(i + 1); }

void check_names(void) {
#define COUNT(name) +1
    const int hypers = FASTBP_HYPERS(COUNT);
#undef COUNT
    check_list(activation_name, FASTBP_ACT_FORMULA, "activation");
    check_list(loss_name, FASTBP_LOSS_FORMULA, "loss");
    check_list(rule_name, FASTBP_RULE_COUNT, "rule");
    check_list(operation_name, FASTBP_OP_COUNT, "operation");
    check_list(element_name, FASTBP_X_COUNT - 1, "element");
    check_list(hyper_name, hypers, "hyper-parameter");
    CHECK(fastbp_element_name(FASTBP_X_OWN) == NULL, "the network's own elements");
    int by_z = 0;
    for (int act = 0; act < FASTBP_ACT_SOFTMAX; ++act) by_z += fastbp_slope_from_z(act);
    CHECK(by_z > 0 && by_z < FASTBP_ACT_SOFTMAX, "%d activations", by_z);
    CHECK(fastbp_slope_from_z(FASTBP_ACT_SILU) && !fastbp_slope_from_z(FASTBP_ACT_TANH), "slopes");
    fastbp_optimizer_t optimizer = {0};
    for (int i = 0; i < hypers; ++i) *fastbp_hyper_at(&optimizer, i) = i + 1;
    CHECK(optimizer.lr == 1 && optimizer.rms == hypers, "hyper-parameters by name");
    CHECK(fastbp_hyper_at(&optimizer, hypers) == NULL, "past the end");
}

static void check_isas(void) {
    int n = 0;
    bool has_fastest = false;
    CHECK(strcmp(fastbp_isa_available(0), "scalar") == 0, "%s", fastbp_isa_available(0));
    for (const char *isa; (isa = fastbp_isa_available(n)) != NULL; ++n) {
        const char *base = fastbp_isa_base(isa);
        CHECK(base != NULL && fastbp_isa_base(base) == base, "the base of %s", isa);
        CHECK_STATUS(fastbp_isa_select(isa), FASTBP_OK);
        CHECK(strcmp(fastbp_isa(), isa) == 0, "%s", fastbp_isa());
        has_fastest |= strcmp(isa, fastbp_isa_fastest()) == 0;
        const ptrdiff_t high = fastbp_bf16_rows(isa, FASTBP_HIGH);
        CHECK(high >= 0 && fastbp_bf16_rows(isa, FASTBP_MEDIUM) >= 0, "%s", isa);
        CHECK(high == 0 || base != isa, "%s has products in bfloat16", isa);
    }
    CHECK(has_fastest, "%s", fastbp_isa_fastest());
    CHECK(fastbp_isa_available(-1) == NULL, "−1");
    CHECK_STATUS(fastbp_isa_select("no such ISA"), FASTBP_ERR_ISA);
    CHECK(strcmp(fastbp_isa(), fastbp_isa_available(n - 1)) == 0, "the choice is as it was");
    CHECK(fastbp_isa_base("no such ISA") == NULL, "no such ISA");
    CHECK(fastbp_bf16_rows("no such ISA", FASTBP_HIGH) == 0, "no such ISA");
    CHECK_STATUS(fastbp_isa_select(NULL), FASTBP_OK);
    CHECK(strcmp(fastbp_isa(), fastbp_isa_fastest()) == 0, "%s", fastbp_isa());
}

void check_machine(void) {
    const fastbp_machine_t machine = fastbp_machine();
    CHECK(machine.cpu != NULL && machine.amx != NULL && *machine.amx != 0, "the processor");
    CHECK(machine.l1d >= 4096 && machine.l2 >= machine.l1d, "%.0f, %.0f bytes", (double)machine.l1d,
          (double)machine.l2);
    check_isas();
    const char *found = fastbp_tune();
    CHECK(strcmp(fastbp_tune_available(0), "generic") == 0, "%s", fastbp_tune_available(0));
    for (int i = 0; fastbp_tune_available(i) != NULL; ++i) {
        CHECK_STATUS(fastbp_tune_select(fastbp_tune_available(i)), FASTBP_OK);
        CHECK(strcmp(fastbp_tune(), fastbp_tune_available(i)) == 0, "%s", fastbp_tune());
    }
    CHECK_STATUS(fastbp_tune_select("no such machine"), FASTBP_ERR_ARGUMENT);
    CHECK_STATUS(fastbp_tune_select(NULL), FASTBP_OK);
    CHECK(strcmp(fastbp_tune(), found) == 0, "%s", fastbp_tune());
}
