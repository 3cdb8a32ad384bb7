/* csv.c: splits blocks of bytes into records and cells. Every read is bounded by the end of the
 * block. A record that is not whole in this block is left for the next one. */
#include "csv.h"
#include "../base/common.h"
#include "number.h"
#include <math.h>
#include <string.h>

/* What follows a cell. */
typedef enum {
    NEXT_CELL,
    NEXT_RECORD,
    NEXT_BLOCK, /* the cell does not end in this block */
    FAULT,
} next_t;

typedef struct {
    const char *p, *end;
    bool last;
    char delimiter, comment;
    int64_t line;
    fastbp_csv_status_t fault;
} reader_t;

typedef struct {
    const char *begin, *end; /* without quotes and outer blanks */
    bool doubled;
} cell_t;

/* ---- bytes ---- */

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f'; }

static bool is_break(char c) { return c == '\n' || c == '\r'; }

/* The first byte from p on that is one of two marks or a line break; `end` if there is none. */
static const char *find_mark(const char *p, const char *end, char mark, char other) {
#if defined(_WIN32) || (defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
    /* Eight bytes at once: the lowest high bit of `found` is that of the first byte which is the
     * mark or less than 14, as line breaks are, and few other characters. */
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    const uint64_t marks = ones * (unsigned char)mark;
    while (end - p >= 8 && other == mark) {
        uint64_t x;
        memcpy(&x, p, sizeof x);
        const uint64_t y = x ^ marks;
        const uint64_t found = (((x - 14 * ones) & ~x) | ((y - ones) & ~y)) & high;
        if (found == 0) {
            p += 8;
            continue;
        }
        p += ((((found & (0 - found)) - 1) & ones) * ones >> 56) - 1;
        if (*p == mark || is_break(*p)) return p;
        p++;
    }
#endif
    while (p < end && *p != mark && *p != other && !is_break(*p)) p++;
    return p;
}

/* Skips blanks that are not delimiters. */
static void skip_blanks(reader_t *r) {
    while (r->p < r->end && is_blank(*r->p) && (*r->p != r->delimiter || r->delimiter == ' '))
        r->p++;
}

/* Skips a line break of one or two bytes; false if the block ends before that is known. */
static bool skip_break(reader_t *r) {
    if (*r->p == '\r') {
        if (r->p + 1 == r->end && !r->last) return false;
        if (r->p + 1 < r->end && r->p[1] == '\n') r->p++;
    }
    r->p++;
    r->line++;
    return true;
}

static next_t fault(reader_t *r, fastbp_csv_status_t status) {
    r->fault = status;
    return FAULT;
}

/* What follows if the block ends in a cell that began at `begin`. */
static next_t at_the_end(reader_t *r, const char *begin) {
    if ((size_t)(r->end - begin) > FASTBP_CSV_MAX_CELL) return fault(r, FASTBP_CSV_LONG);
    return r->last ? NEXT_RECORD : NEXT_BLOCK;
}

/* ---- cells ---- */

static void trim(cell_t *cell) {
    while (cell->begin < cell->end && (is_blank(*cell->begin) || is_break(*cell->begin)))
        cell->begin++;
    while (cell->begin < cell->end && (is_blank(cell->end[-1]) || is_break(cell->end[-1])))
        cell->end--;
}

/* Line breaks within quotes count as lines. */
static void count_lines(reader_t *r, const char *p, const char *end) {
    for (; p < end; p++) r->line += *p == '\n' || (*p == '\r' && p[1] != '\n');
}

/* Moves from the end of a cell to the next cell or record. */
static next_t after_cell(reader_t *r, const char *begin) {
    if (r->delimiter == ' ') skip_blanks(r);
    if (r->p == r->end) return at_the_end(r, begin);
    if (is_break(*r->p)) return skip_break(r) ? NEXT_RECORD : NEXT_BLOCK;
    if (r->delimiter != ' ') r->p++;
    return NEXT_CELL;
}

/* Reads a quoted cell; r->p is after the opening quote. */
static next_t quoted_cell(reader_t *r, cell_t *cell) {
    const char *begin = r->p;
    cell->begin = begin;
    cell->doubled = false;
    for (;;) {
        const char *quote = memchr(r->p, '"', (size_t)(r->end - r->p));
        if (quote == NULL || (quote + 1 == r->end && !r->last)) {
            next_t next = at_the_end(r, begin);
            return next == NEXT_RECORD ? fault(r, FASTBP_CSV_OPEN) : next;
        }
        cell->end = quote;
        r->p = quote + 1;
        if (r->p == r->end || *r->p != '"') break;
        cell->doubled = true;
        r->p++;
    }
    if ((size_t)(cell->end - begin) > FASTBP_CSV_MAX_CELL) return fault(r, FASTBP_CSV_LONG);
    count_lines(r, begin, cell->end); /* p[1] is at most the closing quote */
    trim(cell);
    bool apart = r->p < r->end && is_blank(*r->p);
    skip_blanks(r);
    if (r->p == r->end) return at_the_end(r, begin);
    bool ends = is_break(*r->p) || *r->p == r->delimiter || (r->delimiter == ' ' && apart);
    return ends ? after_cell(r, begin) : fault(r, FASTBP_CSV_QUOTE);
}

static next_t read_cell(reader_t *r, cell_t *cell) {
    skip_blanks(r);
    if (r->p < r->end && *r->p == '"') {
        r->p++;
        return quoted_cell(r, cell);
    }
    const char *p =
        find_mark(r->p, r->end, r->delimiter, r->delimiter == ' ' ? '\t' : r->delimiter);
    *cell = (cell_t){r->p, p, false};
    if ((size_t)(p - r->p) > FASTBP_CSV_MAX_CELL) return fault(r, FASTBP_CSV_LONG);
    r->p = p;
    trim(cell);
    return after_cell(r, cell->begin);
}

/* ---- records ---- */

static reader_t open_block(const fastbp_csv_t *csv, const fastbp_csv_block_t *block) {
    const char *bytes = block->size > 0 ? block->bytes : "";
    return (reader_t){bytes,        bytes + block->size, block->last,  csv->delimiter,
                      csv->comment, csv->line,           FASTBP_CSV_OK};
}

/* Moves to the end of a comment; false, with nothing read, if it does not end in this block. */
static bool skip_comment(reader_t *r) {
    const char *p = r->p;
    while (p < r->end && !is_break(*p)) p++;
    if ((size_t)(p - r->p) > FASTBP_CSV_MAX_CELL) r->fault = FASTBP_CSV_LONG;
    if (r->fault != FASTBP_CSV_OK || (p == r->end && !r->last)) return false;
    r->p = p;
    return true;
}

/* Skips lines without a cell, comments, and blanks. Returns whether a record begins at r->p. */
static bool find_record(reader_t *r) {
    for (;;) {
        skip_blanks(r);
        if (r->p == r->end) return false;
        if (r->comment != 0 && *r->p == r->comment && !skip_comment(r)) return false;
        if (r->p == r->end) return false;
        if (!is_break(*r->p)) return true;
        if (!skip_break(r)) return false;
    }
}

/* The record that is being read. */
typedef struct {
    const char *begin;
    int64_t line;
    ptrdiff_t n_cells;
    next_t next;
} record_t;

static bool open_record(reader_t *r, record_t *record) {
    if (!find_record(r)) return false;
    *record = (record_t){r->p, r->line, 0, NEXT_CELL};
    return true;
}

/* Reads the next cell; false if it does not end in this block or has a fault. */
static bool next_cell(reader_t *r, record_t *record, cell_t *cell) {
    record->next = read_cell(r, cell);
    record->n_cells++;
    return record->next <= NEXT_RECORD;
}

/* Whether the record is whole and has the right number of cells; if not, goes back to its start. */
static bool close_record(fastbp_csv_t *csv, reader_t *r, record_t *record) {
    cell_t cell;
    while (record->next == NEXT_CELL) (void)next_cell(r, record, &cell);
    if (record->next == NEXT_RECORD) {
        csv->n_cells = record->n_cells;
        if (record->n_cells == csv->n_columns) {
            csv->n_rows++;
            return true;
        }
        r->fault = FASTBP_CSV_RAGGED;
    }
    r->p = record->begin;
    r->line = record->line;
    return false;
}

/* Ends a call: reports what was used, the line of the next record, and the fault, if any. */
static fastbp_csv_status_t close_block(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                       const reader_t *r, size_t *used) {
    csv->line = r->line;
    *used = block->size > 0 ? (size_t)(r->p - block->bytes) : 0;
    return r->fault;
}

/* What the first bytes of a cell say. */
typedef enum {
    UNKNOWN,
    WHOLE,        /* a plain number, or nothing, and no blanks around it; it is read */
    CERTAIN_TEXT, /* without quotes; it is not read */
} shape_t;

/* Whether a blank of ASCII or Unicode may begin with a byte. */
static bool may_be_blank(char c) { return (unsigned char)c <= ' ' || (unsigned char)c >= 0x80; }

/* Most cells are plain numbers, whose end need not be looked for, or begin as no number does. */
static shape_t next_shape(reader_t *r, record_t *record, fastbp_cell_kind_t *kind, double *value) {
    const char *begin = r->p, *stop;
    if (begin == r->end) return UNKNOWN;
    const unsigned char lower = *begin | 0x20;
    if ('a' <= lower && lower <= 'z') return *begin == r->delimiter ? UNKNOWN : CERTAIN_TEXT;
    if (*begin == '"') return UNKNOWN;
    if (*begin == r->delimiter && *begin != ' ') {
        *kind = FASTBP_CELL_EMPTY;
        *value = NAN;
        stop = begin;
    } else {
        *kind = fbp_plain_number(begin, r->end, value, &stop);
        if (*kind == FASTBP_CELL_TEXT || stop == r->end) return UNKNOWN;
    }
    if (*stop != r->delimiter && !is_break(*stop))
        return may_be_blank(*stop) ? UNKNOWN : CERTAIN_TEXT; /* the latter as in 2026-05-31 */
    if ((size_t)(stop - begin) > FASTBP_CSV_MAX_CELL) return UNKNOWN;
    r->p = stop;
    record->next = after_cell(r, begin);
    record->n_cells++;
    return WHOLE;
}

/* A quiet NaN with a number, 0 to 2^32 - 1, in its lowest bits. */
static double numbered_nan(uint32_t number) {
    const uint64_t bits = 0x7ff8000000000000u | number;
    double nan;
    memcpy(&nan, &bits, sizeof nan);
    return nan;
}

/* Hands in the text of a cell, which is settled when the record is whole. */
static void wait_for(fastbp_texts_t *texts, ptrdiff_t column, const reader_t *r,
                     const cell_t *cell) {
    const size_t size = (size_t)(cell->end - cell->begin), ahead = (size_t)(r->end - cell->begin);
    fbp_texts_wait(texts, column, cell->begin, size, ahead, cell->doubled);
}

/* Reads the cells of a record; false if it does not end in this block or has a fault. Texts wait,
 * since a record that is not whole comes again in the next block. */
static bool read_values(fastbp_csv_t *csv, reader_t *r, record_t *record,
                        const fastbp_csv_columns_t *columns, bool plain, double *values) {
    int64_t n_marked = 0;
    for (ptrdiff_t j = 0; j < csv->n_columns && record->next == NEXT_CELL; j++) {
        fastbp_cell_kind_t kind = FASTBP_CELL_TEXT;
        const shape_t shape = plain ? next_shape(r, record, &kind, &values[j]) : UNKNOWN;
        if (shape != WHOLE) {
            cell_t cell;
            bool marked = false;
            if (!next_cell(r, record, &cell)) break;
            values[j] = NAN;
            kind = shape == CERTAIN_TEXT ? FASTBP_CELL_TEXT
                                         : fbp_cell(cell.begin, cell.end, csv->decimal,
                                                    csv->thousands, &values[j], &marked);
            n_marked += marked;
            if (columns->texts != NULL && kind == FASTBP_CELL_TEXT)
                wait_for(columns->texts, j, r, &cell);
        }
        columns->kinds[j] = (unsigned char)kind;
    }
    if (!close_record(csv, r, record)) return false;
    csv->n_marked += n_marked;
    return true;
}

fastbp_csv_status_t fastbp_csv_numbers(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                       ptrdiff_t max_rows, const fastbp_csv_columns_t *columns,
                                       double *values, int64_t *lines, ptrdiff_t *n_rows,
                                       size_t *used) {
    reader_t r = open_block(csv, block);
    record_t record;
    const bool clear = strchr("+-.0123456789eE", csv->delimiter) == NULL; /* no part of a number */
    const bool plain = clear && csv->decimal == '.' && csv->thousands == 0;
    *n_rows = 0;
    while (*n_rows < max_rows && open_record(&r, &record)) {
        if (!read_values(csv, &r, &record, columns, plain, values)) break;
        for (ptrdiff_t j = 0; j < csv->n_columns; j++) {
            ptrdiff_t at = j * FASTBP_CELL_KINDS + columns->kinds[j];
            if (columns->counts[at]++ == 0) columns->first[at] = csv->n_rows - 1;
            if (columns->texts != NULL && columns->kinds[j] == FASTBP_CELL_TEXT)
                values[j] = numbered_nan((uint32_t)(fbp_texts_settle(columns->texts, j) + 1));
        }
        lines[(*n_rows)++] = record.line;
        values += csv->n_columns;
    }
    return close_block(csv, block, &r, used);
}

ptrdiff_t fastbp_csv_codes(int32_t *codes, const double *values, ptrdiff_t n_rows, ptrdiff_t stride,
                           int32_t empty) {
    ptrdiff_t n_empty = 0;
    for (ptrdiff_t i = 0; i < n_rows; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i * stride], sizeof bits);
        const uint32_t number = (uint32_t)bits;
        const bool none = isnan(values[i * stride]), bare = none && number == 0;
        codes[i] = bare ? empty : none ? (int32_t)(number - 1) : -1;
        n_empty += bare;
    }
    return n_empty;
}

fastbp_csv_status_t fastbp_csv_texts(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                     ptrdiff_t max_rows, const ptrdiff_t *chosen,
                                     ptrdiff_t n_chosen, const unsigned char *wanted,
                                     fastbp_texts_t *texts, int64_t *codes, ptrdiff_t *n_rows,
                                     size_t *used) {
    reader_t r = open_block(csv, block);
    record_t record;
    *n_rows = 0;
    while (*n_rows < max_rows && r.fault == FASTBP_CSV_OK && open_record(&r, &record)) {
        cell_t cell;
        for (ptrdiff_t c = 0; c < n_chosen && record.next == NEXT_CELL;) {
            if (!next_cell(&r, &record, &cell)) break;
            if (chosen[c] != record.n_cells - 1) continue;
            if (wanted == NULL || wanted[c]) wait_for(texts, c, &r, &cell);
            c++;
        }
        if (!close_record(csv, &r, &record)) break;
        for (ptrdiff_t c = 0; c < n_chosen; c++) {
            codes[c] = -1;
            if (wanted != NULL && !wanted[c]) continue;
            codes[c] = fbp_texts_settle(texts, c);
            if (codes[c] < 0)
                r.fault = fastbp_texts_limited(texts) ? FASTBP_CSV_LIMITED : FASTBP_CSV_CLOSED;
        }
        (*n_rows)++;
        codes += n_chosen;
        if (wanted != NULL) wanted += n_chosen;
    }
    return close_block(csv, block, &r, used);
}

fastbp_csv_status_t fastbp_csv_width(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                     ptrdiff_t *n_columns) {
    reader_t r = open_block(csv, block);
    record_t record;
    cell_t cell;
    *n_columns = 0;
    if (!open_record(&r, &record)) return FASTBP_CSV_OK;
    while (record.next == NEXT_CELL) (void)next_cell(&r, &record, &cell);
    if (record.next == NEXT_RECORD) *n_columns = record.n_cells;
    if (record.next == FAULT) csv->line = record.line;
    return r.fault;
}
