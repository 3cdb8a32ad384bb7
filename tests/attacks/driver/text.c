/* text.c: the reader of .csv files: numbers, texts, faults, and blocks of any size. */
#include "driver.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 3, ROWS = 16 };

/* Memory for a file of at most ROWS records with COLUMNS cells. */
typedef struct {
    int64_t counts[COLUMNS * FASTBP_CELL_KINDS], first[COLUMNS * FASTBP_CELL_KINDS], lines[ROWS];
    unsigned char kinds[COLUMNS];
    double values[ROWS * COLUMNS];
} table_t;

/* Reads a text by blocks of at most `size` bytes, each in memory of exactly its size. What a block
 * leaves unused begins the next one. */
static fastbp_csv_status_t read_by(const char *text, size_t size, fastbp_csv_t *csv,
                                   table_t *table) {
    const fastbp_csv_columns_t columns = {table->counts, table->first, table->kinds, NULL};
    const size_t length = strlen(text);
    size_t at = 0, asked = size;
    for (;;) {
        const size_t bytes = length - at < asked ? length - at : asked;
        char *copy = driver_new(bytes, 1);
        ptrdiff_t rows;
        size_t used;
        memcpy(copy, text + at, bytes);
        const fastbp_csv_block_t block = {copy, bytes, at + bytes == length};
        const ptrdiff_t done = (ptrdiff_t)csv->n_rows;
        const fastbp_csv_status_t status =
            fastbp_csv_numbers(csv, &block, ROWS - done, &columns, table->values + done * COLUMNS,
                               table->lines + done, &rows, &used);
        free(copy);
        if (status != FASTBP_CSV_OK) return status;
        CHECK(used <= bytes && csv->n_rows == done + rows, "%d of %d bytes", (int)used, (int)bytes);
        at += used;
        asked = used > 0 ? size : 2 * asked;
        if (block.last && (rows == 0 || at == length)) return status;
    }
}

static void check_numbers(void) {
    const char *text = "1,2.5,-3e2\r\n\"4\", 5 ,six\n\n007,,1E2\r8,9,\"a\"\"b\nc\"\n";
    const double values[] = {1, 2.5, -300, 4, 5, NAN, 7, NAN, 100, 8, 9, NAN};
    const int64_t lines[] = {1, 2, 4, 5};
    for (size_t size = 1; size <= strlen(text); ++size) {
        fastbp_csv_t csv = {',', '.', 0, 0, COLUMNS, 1, 0, 0, 0};
        table_t table = {0};
        CHECK(read_by(text, size, &csv, &table) == FASTBP_CSV_OK, "blocks of %d", (int)size);
        CHECK(csv.n_rows == 4, "blocks of %d: %d rows", (int)size, (int)csv.n_rows);
        for (int i = 0; i < 4 * COLUMNS; ++i)
            CHECK(table.values[i] == values[i] || (isnan(values[i]) && isnan(table.values[i])),
                  "blocks of %d: cell %d is %g", (int)size, i, table.values[i]);
        for (int i = 0; i < 4; ++i)
            CHECK(table.lines[i] == lines[i], "row %d: line %d", i, (int)table.lines[i]);
        CHECK(table.counts[FASTBP_CELL_DIGITS] == 3 && table.counts[FASTBP_CELL_ZEROS] == 1,
              "kinds of column 0");
        CHECK(table.first[FASTBP_CELL_ZEROS] == 2, "the first cell with a leading zero");
        CHECK(table.counts[2 * FASTBP_CELL_KINDS + FASTBP_CELL_TEXT] == 2, "text in column 2");
    }
}

static fastbp_csv_status_t status_of(const char *text, fastbp_csv_t csv) {
    table_t table = {0};
    return read_by(text, strlen(text) + 1, &csv, &table);
}

static void check_faults(void) {
    const fastbp_csv_t plain = {',', '.', 0, 0, COLUMNS, 1, 0, 0, 0};
    CHECK(status_of("", plain) == FASTBP_CSV_OK, "no bytes");
    CHECK(status_of("1,2,3", plain) == FASTBP_CSV_OK, "no line break at the end");
    CHECK(status_of("1,2\n", plain) == FASTBP_CSV_RAGGED, "two cells");
    CHECK(status_of("1,2,3,4\n", plain) == FASTBP_CSV_RAGGED, "four cells");
    CHECK(status_of("1,\"2\"x,3\n", plain) == FASTBP_CSV_QUOTE, "text after a quote");
    CHECK(status_of("1,2,\"3\n", plain) == FASTBP_CSV_OPEN, "an open quote");
    const size_t size = FASTBP_CSV_MAX_CELL + 8;
    char *text = driver_new(size + 1, 1);
    memset(text, 'x', size);
    memcpy(text, "1,2,\"", 5);
    CHECK(status_of(text, plain) == FASTBP_CSV_LONG, "a long cell");
    free(text);
}

static void check_formats(void) {
    table_t table = {0};
    fastbp_csv_t german = {';', ',', '.', 0, COLUMNS, 1, 0, 0, 0};
    CHECK(read_by("1.234,5;-0,25;7\n", 64, &german, &table) == FASTBP_CSV_OK, "decimal commas");
    CHECK(table.values[0] == 1234.5 && table.values[1] == -0.25 && table.values[2] == 7, "%g, %g",
          table.values[0], table.values[1]);
    CHECK(german.n_marked == 2, "%d cells", (int)german.n_marked);
    fastbp_csv_t blanks = {' ', '.', 0, 0, COLUMNS, 1, 0, 0, 0};
    CHECK(read_by("  1 \t 2   3  \n", 64, &blanks, &table) == FASTBP_CSV_OK, "blanks");
    CHECK(table.values[0] == 1 && table.values[1] == 2 && table.values[2] == 3, "blanks");
}

/* The nearest double, for numbers that need all digits. */
static void check_rounding(void) {
    static const char *const texts[] = {"0.1,9007199254740993,1.7976931348623157e308\n",
                                        "5e-324,2.2250738585072011e-308,1e-400\n",
                                        "123456789012345678901234567890,1e23,-0\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; ++i) {
        fastbp_csv_t csv = {',', '.', 0, 0, COLUMNS, 1, 0, 0, 0};
        table_t table = {0};
        CHECK(read_by(texts[i], 64, &csv, &table) == FASTBP_CSV_OK, "%s", texts[i]);
        const char *at = texts[i];
        for (int j = 0; j < COLUMNS; ++j) {
            const double right = strtod(at, NULL);
            CHECK(memcmp(&right, &table.values[j], sizeof right) == 0, "%.17g, not %.17g",
                  table.values[j], right);
            at = j < COLUMNS - 1 ? strchr(at, ',') + 1 : at;
        }
    }
}

static bool is_text(const fastbp_texts_t *texts, ptrdiff_t column, int64_t code,
                    const char *expected) {
    size_t size;
    const char *text = fastbp_texts_at(texts, column, code, &size);
    return size == strlen(expected) && memcmp(text, expected, size) == 0;
}

/* The texts of two columns, and the codes that their cells have among the numbers. */
static void check_columns_of_texts(void) {
    static const char text[] = "a,\"b\"\"c\",7\ne,f,7\na,,x\n";
    const fastbp_csv_block_t block = {text, sizeof text - 1, true};
    fastbp_csv_t csv = {',', '.', 0, 0, 0, 1, 0, 0, 0};
    const ptrdiff_t chosen[] = {1, 2};
    const unsigned char wanted[] = {1, 1, 1, 0, 1, 1};
    int64_t codes[6];
    int32_t found[3];
    ptrdiff_t rows, columns = 0;
    size_t used;
    CHECK(fastbp_csv_width(&csv, &block, &columns) == FASTBP_CSV_OK && columns == 3, "%d columns",
          (int)columns);
    csv.n_columns = columns;
    fastbp_csv_t again = csv;
    fastbp_texts_t *texts = fastbp_texts_new(2, SIZE_MAX, 1, 2);
    CHECK(fastbp_csv_texts(&csv, &block, 3, chosen, 2, wanted, texts, codes, &rows, &used) ==
              FASTBP_CSV_OK,
          "texts");
    CHECK(rows == 3 && used == sizeof text - 1, "%d rows", (int)rows);
    CHECK(codes[0] == 0 && codes[2] == 1 && codes[4] == 2 && codes[3] == -1, "codes");
    CHECK(codes[1] == 0 && codes[5] == 1, "codes of the last column");
    CHECK(is_text(texts, 0, 0, "b\"c") && is_text(texts, 0, 2, ""), "texts of column 1");
    CHECK(is_text(texts, 1, 0, "7") && is_text(texts, 1, 1, "x"), "texts of column 2");
    fastbp_texts_free(texts);

    table_t table = {0};
    texts = fastbp_texts_new(COLUMNS, SIZE_MAX, 1, 2);
    const fastbp_csv_columns_t all = {table.counts, table.first, table.kinds, texts};
    CHECK(fastbp_csv_numbers(&again, &block, 3, &all, table.values, table.lines, &rows, &used) ==
              FASTBP_CSV_OK,
          "numbers");
    CHECK(fastbp_csv_codes(found, table.values + 1, 3, COLUMNS, 9) == 1, "one empty cell");
    CHECK(found[0] == 0 && found[1] == 1 && found[2] == 9, "codes of column 1");
    CHECK(fastbp_csv_codes(found, table.values + 2, 3, COLUMNS, 9) == 0, "no empty cell");
    CHECK(found[0] == -1 && found[1] == -1 && found[2] == 0, "codes of column 2");
    fastbp_texts_free(texts);
    const fastbp_csv_block_t part = {"1,2", 3, false}, none = {NULL, 0, true};
    CHECK(fastbp_csv_width(&csv, &part, &columns) == FASTBP_CSV_OK && columns == 0, "no record");
    CHECK(fastbp_csv_width(&csv, &none, &columns) == FASTBP_CSV_OK && columns == 0, "no bytes");
}

/* Many texts of all sizes up to one longer than the longest that lies in the list. */
static void check_many_texts(void) {
    enum { MANY = 5000 };
    char text[40];
    fastbp_texts_t *texts = fastbp_texts_new(1, SIZE_MAX, 3, 4);
    for (int round = 0; round < 2; ++round)
        for (int i = 0; i < MANY; ++i) {
            const int size = snprintf(text, sizeof text, "%0*d", 1 + i % 25, i);
            const int64_t code = fastbp_texts_code(texts, 0, text, (size_t)size, false);
            CHECK(code == i, "text %s has the code %d", text, (int)code);
        }
    CHECK(!fastbp_texts_limited(texts), "there is no limit");
    CHECK(fastbp_texts_count(texts, 0) == MANY, "%d texts", (int)fastbp_texts_count(texts, 0));
    CHECK(is_text(texts, 0, 24, "0000000000000000000000024") && is_text(texts, 0, 3, "0003"),
          "two texts");
    fastbp_texts_close(texts, 0);
    CHECK(fastbp_texts_count(texts, 0) == -1 && fastbp_texts_code(texts, 0, "a", 1, false) == -1,
          "a closed column");
    fastbp_texts_free(texts);
    fastbp_texts_free(NULL);
    CHECK(fastbp_texts_new(PTRDIFF_MAX, SIZE_MAX, 0, 0) == NULL, "more columns than memory");
}

/* A column that would need more memory is closed; another one may use what it gives back. */
static void check_limit_of_texts(void) {
    fastbp_texts_t *texts = fastbp_texts_new(2, 3000, 5, 6);
    char text[8];
    int64_t code = 0, n = 0;
    for (; n < 1000 && code >= 0; ++n) {
        const int size = snprintf(text, sizeof text, "%d", (int)n);
        code = fastbp_texts_code(texts, 0, text, (size_t)size, false);
    }
    CHECK(10 < n && n < 200 && fastbp_texts_count(texts, 0) == -1, "%d texts", (int)n);
    CHECK(fastbp_texts_limited(texts), "the limit closed the column");
    CHECK(fastbp_texts_code(texts, 1, "a", 1, false) == 0, "the other column");
    const fastbp_csv_block_t block = {"a,b\n", 4, true};
    fastbp_csv_t csv = {',', '.', 0, 0, 2, 1, 0, 0, 0};
    const ptrdiff_t chosen[] = {0, 1};
    int64_t codes[2];
    ptrdiff_t rows;
    size_t used;
    CHECK(fastbp_csv_texts(&csv, &block, 1, chosen, 2, NULL, texts, codes, &rows, &used) ==
              FASTBP_CSV_LIMITED,
          "a closed column");
    fastbp_texts_free(texts);
}

void check_csv(void) {
    check_numbers();
    check_faults();
    check_formats();
    check_rounding();
    check_columns_of_texts();
    check_many_texts();
    check_limit_of_texts();
}
