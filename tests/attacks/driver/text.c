/* text.c: the reader of .csv files: numbers, places of cells, faults, and blocks of any size. */
#include "driver.h"

#include <math.h>
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
    const fastbp_csv_columns_t columns = {table->counts, table->first, table->kinds};
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

static void check_spans(void) {
    static const char text[] = "a,\"b\"\"c\",d\ne,f,g\n";
    const fastbp_csv_block_t block = {text, sizeof text - 1, true};
    fastbp_csv_t csv = {',', '.', 0, 0, 0, 1, 0, 0, 0};
    const ptrdiff_t chosen[] = {1, 2};
    fastbp_csv_span_t spans[4];
    ptrdiff_t rows, columns = 0;
    size_t used;
    CHECK(fastbp_csv_width(&csv, &block, &columns) == FASTBP_CSV_OK && columns == 3, "%d columns",
          (int)columns);
    csv.n_columns = columns;
    CHECK(fastbp_csv_spans(&csv, &block, 2, chosen, 2, spans, &rows, &used) == FASTBP_CSV_OK,
          "spans");
    CHECK(rows == 2 && used == sizeof text - 1, "%d rows", (int)rows);
    CHECK(spans[0].doubled && strncmp(text + spans[0].at, "b\"\"c", spans[0].size) == 0, "a quote");
    CHECK(spans[3].size == 1 && text[spans[3].at] == 'g' && !spans[3].doubled, "the last cell");
    const fastbp_csv_block_t part = {"1,2", 3, false}, none = {NULL, 0, true};
    CHECK(fastbp_csv_width(&csv, &part, &columns) == FASTBP_CSV_OK && columns == 0, "no record");
    CHECK(fastbp_csv_width(&csv, &none, &columns) == FASTBP_CSV_OK && columns == 0, "no bytes");
}

void check_csv(void) {
    check_numbers();
    check_faults();
    check_formats();
    check_rounding();
    check_spans();
}
