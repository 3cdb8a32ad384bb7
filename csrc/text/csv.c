/* csv.c: splits blocks of bytes into records and cells. Every read is bounded by the end of the
 * block. A record that is not whole in this block is left for the next one. */
#include "csv.h"
#include "number.h"
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
    const char *p = r->p, *end = r->end;
    const char delimiter = r->delimiter, other = delimiter == ' ' ? '\t' : delimiter;
    while (p < end && *p != delimiter && *p != other && *p != '\n' && *p != '\r') p++;
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

/* Reads the next cell if it is a plain number with nothing around it: most are, and their end need
 * not be looked for. False, with nothing read, for all others, and at the end of the block. */
static bool next_plain(reader_t *r, record_t *record, fastbp_cell_kind_t *kind, double *value) {
    const char *begin = r->p, *stop;
    if (begin == r->end) return false;
    *kind = fbp_plain_number(begin, r->end, value, &stop);
    if (*kind == FASTBP_CELL_TEXT || stop == r->end) return false;
    if (*stop != r->delimiter && !is_break(*stop)) return false;
    if ((size_t)(stop - begin) > FASTBP_CSV_MAX_CELL) return false;
    r->p = stop;
    record->next = after_cell(r, begin);
    record->n_cells++;
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
        int64_t n_marked = 0;
        for (ptrdiff_t j = 0; j < csv->n_columns && record.next == NEXT_CELL; j++) {
            fastbp_cell_kind_t kind;
            if (!plain || !next_plain(&r, &record, &kind, &values[j])) {
                cell_t cell;
                bool marked;
                if (!next_cell(&r, &record, &cell)) break;
                kind = fbp_cell(cell.begin, cell.end, csv->decimal, csv->thousands, &values[j],
                                &marked);
                n_marked += marked;
            }
            columns->kinds[j] = (unsigned char)kind;
        }
        if (!close_record(csv, &r, &record)) break;
        for (ptrdiff_t j = 0; j < csv->n_columns; j++) { /* only now: the next block has it again */
            ptrdiff_t at = j * FASTBP_CELL_KINDS + columns->kinds[j];
            if (columns->counts[at]++ == 0) columns->first[at] = csv->n_rows - 1;
        }
        csv->n_marked += n_marked;
        lines[(*n_rows)++] = record.line;
        values += csv->n_columns;
    }
    return close_block(csv, block, &r, used);
}

fastbp_csv_status_t fastbp_csv_spans(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                     ptrdiff_t max_rows, const ptrdiff_t *chosen,
                                     ptrdiff_t n_chosen, fastbp_csv_span_t *spans,
                                     ptrdiff_t *n_rows, size_t *used) {
    reader_t r = open_block(csv, block);
    record_t record;
    *n_rows = 0;
    while (*n_rows < max_rows && open_record(&r, &record)) {
        cell_t cell;
        for (ptrdiff_t c = 0; c < n_chosen && record.next == NEXT_CELL;) {
            if (!next_cell(&r, &record, &cell)) break;
            if (chosen[c] != record.n_cells - 1) continue;
            spans[c++] = (fastbp_csv_span_t){(size_t)(cell.begin - block->bytes),
                                             (size_t)(cell.end - cell.begin), cell.doubled};
        }
        if (!close_record(csv, &r, &record)) break;
        (*n_rows)++;
        spans += n_chosen;
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
