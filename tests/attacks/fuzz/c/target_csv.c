/* target_csv.c: the reader of .csv files in blocks that are cut anywhere, against csv_reference.c:
 * texts, lines, kinds, values, counts and faults.
 *
 * Input: the format, how the text is cut, then the text. */
#include "csv_reference.h"
#include "fuzz.h"

#include <math.h>
#include <string.h>

enum { MOST_COLUMNS = 40 };

static char take_delimiter(input_t *in) {
    static const char usual[] = ",;\t |:";
    const unsigned byte = take_byte(in);
    const char any = (char)(byte & 127);
    if (byte < 128) return usual[byte % (sizeof usual - 1)];
    return any == '"' || any == '\n' || any == '\r' || any == '\0' ? ',' : any;
}

static fastbp_csv_t take_format(input_t *in) {
    static const char decimals[] = "..,", thousands[] = "\0\0\0 ,.'_";
    fastbp_csv_t format = {.delimiter = take_delimiter(in), .line = 1};
    format.decimal = decimals[take_below(in, 3)];
    format.thousands = thousands[take_below(in, 8)];
    if (format.thousands == format.decimal) format.thousands = '\0';
    return format;
}

/* The rest of the input. Rarely, its first 0xff stands for a great many copies of the byte before
 * it, so that a short input can have a cell that is too long. */
static char *take_text(input_t *in, size_t *size) {
    const size_t copies = take_byte(in) == 255 ? FASTBP_CSV_MAX_CELL - 100 + take_byte(in) : 1;
    const size_t rest = (size_t)(in->end - in->at);
    const uint8_t *from = in->at, *grows = rest > 1 ? memchr(from + 1, 0xff, rest - 1) : NULL;
    const size_t before = grows != NULL ? (size_t)(grows - from) : rest;
    const size_t added = grows != NULL ? copies : 0;
    *size = rest + added;
    char *text = exact(*size, 1);
    if (rest > 0) memcpy(text, from, before);
    if (grows != NULL) {
        memset(text + before, from[before - 1], added);
        memcpy(text + before + added, grows, rest - before);
    }
    in->at = in->end;
    return text;
}

/* What is handed in block by block. */
typedef struct {
    const char *text;
    size_t size, used, given; /* given: the end of the block that comes next */
    uint64_t random;
    size_t step;
    char *copy; /* the block that was handed in last */
} cutter_t;

/* The next block: what was not used, and more, unless the call before stopped for other reasons. */
static fastbp_csv_block_t next_block(cutter_t *cut, bool more) {
    if (more) cut->given += 1 + next_random(&cut->random) % cut->step;
    if (cut->given > cut->size) cut->given = cut->size;
    const size_t size = cut->given - cut->used;
    drop(cut->copy);
    cut->copy = exact(size, 1); /* the reader must not look past the end */
    memcpy(cut->copy, cut->text + cut->used, size);
    return (fastbp_csv_block_t){size > 0 ? cut->copy : NULL, size, cut->given == cut->size};
}

static void check_fault(const fastbp_csv_t *csv, fastbp_csv_status_t status,
                        const ref_file_t *expected, ptrdiff_t at) {
    if (expected->has_long) return; /* TOO LONG is possible here, at another place */
    REQUIRE(at < expected->n_records, "fault %d after the last record", (int)status);
    const ref_record_t *record = &expected->records[at];
    REQUIRE(csv->line == record->line, "fault in line %lld, not %lld", (long long)csv->line,
            (long long)record->line);
    if (status != FASTBP_CSV_RAGGED) {
        REQUIRE(status == record->fault, "fault %d, not %d", (int)status, (int)record->fault);
        return;
    }
    REQUIRE(record->fault == FASTBP_CSV_OK, "ragged, not %d", (int)record->fault);
    REQUIRE(csv->n_cells == record->n_cells, "%td cells, not %td", csv->n_cells, record->n_cells);
    REQUIRE(csv->n_cells != csv->n_columns, "ragged with all %td cells", csv->n_cells);
}

static void check_end(const fastbp_csv_t *csv, const ref_file_t *expected, const cutter_t *cut) {
    REQUIRE(cut->used == cut->size, "%zu of %zu bytes used", cut->used, cut->size);
    REQUIRE(csv->n_rows == expected->n_records, "%lld records, not %td", (long long)csv->n_rows,
            expected->n_records);
}

/* ---- values ---- */

static void check_counts(const fastbp_csv_t *csv, const ref_file_t *expected,
                         const fastbp_csv_columns_t *columns) {
    int64_t marked = 0;
    for (ptrdiff_t j = 0; j < csv->n_columns; ++j)
        for (int kind = 0; kind < FASTBP_CELL_KINDS; ++kind) {
            int64_t count = 0, first = 0;
            for (ptrdiff_t i = 0; i < csv->n_rows; ++i) {
                const ref_cell_t *cell = &expected->records[i].cells[j];
                if ((int)cell->kind != kind) continue;
                marked += cell->marked;
                if (count++ == 0) first = i;
            }
            const ptrdiff_t at = j * FASTBP_CELL_KINDS + kind;
            REQUIRE(columns->counts[at] == count, "%lld cells of kind %d, not %lld",
                    (long long)columns->counts[at], kind, (long long)count);
            REQUIRE(count == 0 || columns->first[at] == first, "the first of kind %d is %lld", kind,
                    (long long)columns->first[at]);
        }
    REQUIRE(csv->n_marked == marked, "%lld marked", (long long)csv->n_marked);
}

/* That a code stands for the text of a cell. */
static void check_text(const fastbp_texts_t *texts, ptrdiff_t column, int64_t code,
                       const ref_cell_t *cell, const char *file) {
    size_t size, at = 0;
    REQUIRE(code >= 0 && code < fastbp_texts_count(texts, column), "code %lld", (long long)code);
    const char *text = fastbp_texts_at(texts, column, code, &size);
    for (size_t i = 0; i < cell->size; ++i, ++at) {
        const char byte = file[cell->at + i];
        REQUIRE(at < size && text[at] == byte, "byte %zu of a text of %zu bytes", at, size);
        if (cell->doubled && byte == '"' && i + 1 < cell->size && file[cell->at + i + 1] == '"')
            ++i;
    }
    REQUIRE(at == size, "%zu bytes, not %zu", size, at);
}

/* That no two codes of a column stand for one text. */
static void check_distinct(const fastbp_texts_t *texts, ptrdiff_t column) {
    const int64_t n =
        fastbp_texts_count(texts, column) < 64 ? fastbp_texts_count(texts, column) : 64;
    for (int64_t i = 0; i < n; ++i)
        for (int64_t k = 0; k < i; ++k) {
            size_t one, other;
            const char *p = fastbp_texts_at(texts, column, i, &one);
            const char *q = fastbp_texts_at(texts, column, k, &other);
            REQUIRE(one != other || memcmp(p, q, one) != 0, "codes %lld and %lld are one text",
                    (long long)i, (long long)k);
        }
}

static void check_cells(const fastbp_texts_t *texts, const ref_record_t *record,
                        const double *values, ptrdiff_t n_columns, const char *file) {
    REQUIRE(record->n_cells == n_columns, "%td cells taken for %td", record->n_cells, n_columns);
    for (ptrdiff_t j = 0; j < n_columns; ++j) {
        const ref_cell_t *cell = &record->cells[j];
        int32_t code;
        fastbp_csv_codes(&code, &values[j], 1, n_columns, INT32_MAX);
        if (cell->kind == FASTBP_CELL_TEXT) {
            check_text(texts, j, code, cell, file);
        } else {
            REQUIRE(same_bits(FASTBP_F64, &values[j], &cell->value, 1), "column %td is %a, not %a",
                    j, values[j], cell->value);
            REQUIRE(code == (cell->kind == FASTBP_CELL_EMPTY ? INT32_MAX : -1), "code %d", code);
        }
    }
}

static void read_numbers(fastbp_csv_t csv, cutter_t cut, ptrdiff_t max_rows,
                         const ref_file_t *expected) {
    const size_t cells = (size_t)csv.n_columns * FASTBP_CELL_KINDS;
    const fastbp_csv_columns_t columns = {
        exact(cells, sizeof(int64_t)), exact(cells, sizeof(int64_t)),
        exact((size_t)csv.n_columns, 1), fastbp_texts_new(csv.n_columns, SIZE_MAX, 1, 2)};
    REQUIRE(columns.texts != NULL, "texts of %td columns", csv.n_columns);
    double *values = exact((size_t)(max_rows * csv.n_columns), sizeof *values);
    int64_t *lines = exact((size_t)max_rows, sizeof *lines);
    ptrdiff_t n = 0, done = 0;
    for (bool more = true;; more = n < max_rows) {
        const fastbp_csv_block_t block = next_block(&cut, more);
        size_t used;
        const fastbp_csv_status_t status =
            fastbp_csv_numbers(&csv, &block, max_rows, &columns, values, lines, &n, &used);
        REQUIRE(n >= 0 && n <= max_rows && used <= block.size, "%td rows, %zu bytes", n, used);
        cut.used += used;
        if (expected->has_long && done + n >= expected->n_records - 1) {
            fastbp_texts_free(columns.texts);
            return;
        }
        for (ptrdiff_t i = 0; i < n; ++i, ++done) {
            REQUIRE(done < expected->n_records, "record %td is one too many", done);
            check_cells(columns.texts, &expected->records[done], values + i * csv.n_columns,
                        csv.n_columns, cut.text);
            REQUIRE(lines[i] == expected->records[done].line, "record %td in line %lld", done,
                    (long long)lines[i]);
        }
        REQUIRE(csv.n_rows == done, "%lld rows after %td", (long long)csv.n_rows, done);
        if (status != FASTBP_CSV_OK) {
            check_fault(&csv, status, expected, done);
            check_counts(&csv, expected, &columns);
            fastbp_texts_free(columns.texts);
            return;
        }
        if (block.last && n < max_rows) break;
    }
    check_end(&csv, expected, &cut);
    check_counts(&csv, expected, &columns);
    for (ptrdiff_t j = 0; j < csv.n_columns; ++j) check_distinct(columns.texts, j);
    fastbp_texts_free(columns.texts);
}

/* ---- texts ---- */

static void read_texts(fastbp_csv_t csv, cutter_t cut, ptrdiff_t max_rows, unsigned which,
                       const ref_file_t *expected) {
    ptrdiff_t *chosen = exact((size_t)csv.n_columns, sizeof *chosen), n_chosen = 0;
    for (ptrdiff_t j = 0; j < csv.n_columns; ++j)
        if (which >> (j % 8) & 1) chosen[n_chosen++] = j;
    fastbp_texts_t *texts = fastbp_texts_new(n_chosen, SIZE_MAX, which, cut.random);
    REQUIRE(texts != NULL, "texts of %td columns", n_chosen);
    int64_t *codes = exact((size_t)(max_rows * n_chosen), sizeof *codes);
    unsigned char *wanted = exact((size_t)(max_rows * n_chosen), 1);
    for (ptrdiff_t i = 0; i < max_rows * n_chosen; ++i) wanted[i] = which >> (i % 7) & 1;
    ptrdiff_t n = 0, done = 0;
    for (bool more = true;; more = n < max_rows) {
        const fastbp_csv_block_t block = next_block(&cut, more);
        size_t used;
        const fastbp_csv_status_t status =
            fastbp_csv_texts(&csv, &block, max_rows, chosen, n_chosen, which & 128 ? wanted : NULL,
                             texts, codes, &n, &used);
        REQUIRE(n >= 0 && n <= max_rows && used <= block.size, "%td rows, %zu bytes", n, used);
        if (expected->has_long && done + n >= expected->n_records - 1) break;
        for (ptrdiff_t i = 0; i < n; ++i, ++done) {
            REQUIRE(done < expected->n_records, "record %td is one too many", done);
            for (ptrdiff_t c = 0; c < n_chosen; ++c) {
                const int64_t code = codes[i * n_chosen + c];
                if (which & 128 && !wanted[i * n_chosen + c]) {
                    REQUIRE(code == -1, "code %lld of a cell that is not wanted", (long long)code);
                    continue;
                }
                check_text(texts, c, code, &expected->records[done].cells[chosen[c]], cut.text);
            }
        }
        cut.used += used;
        if (status != FASTBP_CSV_OK) {
            check_fault(&csv, status, expected, done);
            break;
        }
        if (block.last && n < max_rows) {
            check_end(&csv, expected, &cut);
            break;
        }
    }
    for (ptrdiff_t c = 0; c < n_chosen; ++c) check_distinct(texts, c);
    fastbp_texts_free(texts);
}

/* ---- the target ---- */

/* The number of columns, as a caller finds it. */
static ptrdiff_t find_width(const fastbp_csv_t *format, cutter_t cut, const ref_file_t *expected) {
    fastbp_csv_t csv = *format;
    for (;;) {
        const fastbp_csv_block_t block = next_block(&cut, true);
        ptrdiff_t n;
        const fastbp_csv_status_t status = fastbp_csv_width(&csv, &block, &n);
        if (expected->has_long) return n > 0 && n <= MOST_COLUMNS ? n : 1;
        if (status != FASTBP_CSV_OK) {
            check_fault(&csv, status, expected, 0);
            return 1;
        }
        if (n == 0 && !block.last) continue;
        const ptrdiff_t own = expected->n_records > 0 ? expected->records[0].n_cells : 0;
        REQUIRE(n == own, "width %td, not %td", n, own);
        return n > 0 && n <= MOST_COLUMNS ? n : 1;
    }
}

void target(input_t *in) {
    static const size_t steps[] = {1, 3, 17, 64, 700, 1 << 20};
    fastbp_csv_t format = take_format(in);
    cutter_t cut = {.random = 1 + take_byte(in)};
    cut.step = steps[take_below(in, 6)];
    const ptrdiff_t max_rows = take_in(in, 1, 9);
    const unsigned columns = take_byte(in), which = take_byte(in);
    cut.text = take_text(in, &cut.size);
    if (cut.size > 3000 && cut.step < 1000) cut.step = 1 << 14; /* each block is a copy */
    const ref_file_t expected = reference_read(&format, cut.text, cut.size);
    format.n_columns = find_width(&format, cut, &expected);
    if (columns < 16) format.n_columns = 1 + columns;
    read_numbers(format, cut, max_rows, &expected);
    read_texts(format, cut, max_rows, which, &expected);
}
