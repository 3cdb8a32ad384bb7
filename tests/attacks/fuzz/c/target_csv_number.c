/* target_csv_number.c: one number of many shapes, long ones and halves between two doubles among
 * them, against strtod.
 *
 * Input: instructions that each add digits to a text. */
#include "csv_reference.h"
#include "fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TEXT = 1400 };

typedef struct {
    char text[MOST_TEXT + 1];
    size_t n;
} text_t;

static void add(text_t *to, const char *text, size_t n) {
    if (to->n + n > MOST_TEXT) return;
    memcpy(to->text + to->n, text, n);
    to->n += n;
}

static void add_many(text_t *to, char c, int n) {
    for (int i = 0; i < n; ++i) add(to, &c, 1);
}

/* Adds the exact decimal expansion of a double, or of the half between it and the next one. */
static void add_double(input_t *in, text_t *to) {
    char own[1200];
    int64_t word = take_word(in);
    double number;
    memcpy(&number, &word, sizeof number);
    if (!isfinite(number)) return;
    const double next = nextafter(fabs(number), INFINITY), half = fabs(number) / 2 + next / 2;
    const double picked = take_flag(in) && isfinite(half) ? half : fabs(number);
    const int n =
        snprintf(own, sizeof own, take_flag(in) ? "%.*e" : "%.*f", take_below(in, 800), picked);
    if (n > 0 && n < (int)sizeof own) add(to, own, (size_t)n);
}

static void add_part(input_t *in, text_t *to) {
    static const char *const parts[] = {".",
                                        "e",
                                        "E",
                                        "e-",
                                        "e+",
                                        "-",
                                        "+",
                                        ",",
                                        "0",
                                        "00000000",
                                        "99999999",
                                        "9007199254740993",
                                        "18446744073709551615",
                                        "4.9406564584124654",
                                        "1.7976931348623157e308",
                                        " "};
    const unsigned byte = take_byte(in);
    if (byte < 100) {
        const char digit = (char)('0' + byte % 10);
        add(to, &digit, 1);
    } else if (byte < 180) {
        const char *part = parts[byte % 16];
        add(to, part, strlen(part));
    } else if (byte < 210) {
        add_many(to, (char)('0' + byte % 10), take_below(in, 900));
    } else if (byte < 235) {
        add_double(in, to);
    } else {
        const char any = (char)take_byte(in);
        if (any != '\n' && any != '\r' && any != '"' && any != ';') add(to, &any, 1);
    }
}

void target(input_t *in) {
    static const char decimals[] = ".,", thousands[] = "\0 ,.'_";
    text_t text = {.n = 0};
    fastbp_csv_t csv = {.delimiter = ';', .line = 1, .n_columns = 1};
    csv.decimal = decimals[take_below(in, 2)];
    csv.thousands = thousands[take_below(in, 6)];
    if (csv.thousands == csv.decimal) csv.thousands = '\0';
    while (in->at < in->end) add_part(in, &text);
    ref_file_t expected = reference_read(&csv, text.text, text.n);
    if (expected.n_records != 1) return;
    for (int after = 0; after < 2; ++after) { /* with a line break, plain numbers take a shortcut */
        char *bytes = exact(text.n + (size_t)after, 1);
        memcpy(bytes, text.text, text.n);
        if (after) bytes[text.n] = '\n';
        fastbp_csv_t own = csv;
        int64_t counts[FASTBP_CELL_KINDS] = {0}, first[FASTBP_CELL_KINDS], line;
        unsigned char kind;
        double value;
        ptrdiff_t n;
        size_t used;
        const fastbp_csv_block_t block = {bytes, text.n + (size_t)after, true};
        const fastbp_csv_columns_t columns = {counts, first, &kind};
        const fastbp_csv_status_t status =
            fastbp_csv_numbers(&own, &block, 1, &columns, &value, &line, &n, &used);
        REQUIRE(status == FASTBP_CSV_OK && n == 1, "status %d of %s", (int)status, text.text);
        const ref_cell_t *cell = &expected.records[0].cells[0];
        REQUIRE(kind == cell->kind, "kind %d, not %d, of %s", kind, (int)cell->kind, text.text);
        REQUIRE(same_bits(FASTBP_F64, &value, &cell->value, 1), "%a, not %a, of %s", value,
                cell->value, text.text);
    }
}
