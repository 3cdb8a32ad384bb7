/* csv_reference.c: see csv_reference.h. */
#include "csv_reference.h"
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- cells ---- */

static size_t digits(const char *text, size_t at) {
    size_t n = 0;
    while (text[at + n] >= '0' && text[at + n] <= '9') ++n;
    return n;
}

/* The kind of a text that ends with NUL, by number = [+-] (digits [. digits]) [e [+-] digits]. */
static fastbp_cell_kind_t kind_of(const char *text) {
    size_t at = text[0] == '+' || text[0] == '-';
    const bool sign = at == 1;
    const size_t first = at, whole = digits(text, at);
    at += whole;
    const bool point = text[at] == '.';
    const size_t fraction = point ? digits(text, at + 1) : 0;
    at += point + fraction;
    if (whole + fraction == 0) return FASTBP_CELL_TEXT;
    bool power = false, power_sign = false;
    if (text[at] == 'e' || text[at] == 'E') {
        power = true;
        ++at;
        power_sign = text[at] == '+' || text[at] == '-';
        at += power_sign;
        const size_t n = digits(text, at);
        if (n == 0) return FASTBP_CELL_TEXT;
        at += n;
    }
    if (text[at] != '\0') return FASTBP_CELL_TEXT;
    const bool only_digits = !sign && !point && !power;
    if (text[first] == '0' && whole > 1) /* a zero before another digit */
        return only_digits ? FASTBP_CELL_ZEROS : FASTBP_CELL_PADDED;
    if (only_digits) return FASTBP_CELL_DIGITS;
    return power && !sign && !point && !power_sign ? FASTBP_CELL_CODE : FASTBP_CELL_NUMBER;
}

/* The bytes of a mark between thousands at p, or 0. */
static size_t mark(const char *p, size_t left, char thousands) {
    static const char *const marks[][2] = {
        {" ", "\xc2\xa0"}, {" ", "\xe2\x80\xaf"}, {" ", "\xe2\x80\x89"}, {"'", "\xe2\x80\x99"}};
    if (thousands == '\0' || left == 0) return 0;
    if (*p == thousands) return 1;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; ++i) {
        const size_t n = strlen(marks[i][1]);
        if (marks[i][0][0] == thousands && left >= n && memcmp(p, marks[i][1], n) == 0) return n;
    }
    return 0;
}

/* Copies a number without its marks and with a decimal point to `out`; false if it is none. Between
 * marks are three digits each; before the first are one to three. */
static bool plain_text(const fastbp_csv_t *format, const char *text, size_t size, char *out) {
    size_t at = 0, n = 0, marks = 0, since = 0;
    if (size > 0 && (text[0] == '+' || text[0] == '-')) out[n++] = text[at++];
    while (at < size) {
        const size_t bytes = mark(text + at, size - at, format->thousands);
        if (bytes == 0 && (text[at] < '0' || text[at] > '9')) break;
        if (bytes > 0) {
            if (marks == 0 ? since < 1 || since > 3 : since != 3) return false;
            ++marks;
            since = 0;
            at += bytes;
            continue;
        }
        out[n++] = text[at++];
        ++since;
    }
    if (marks > 0 && since != 3) return false;
    const bool decimal = at < size && text[at] == format->decimal;
    if (decimal) out[n++] = '.', ++at;
    if (memchr(text + at, '.', size - at) != NULL) return false;
    if (memchr(text + at, '\0', size - at) != NULL) return false;
    memcpy(out + n, text + at, size - at);
    out[n + size - at] = '\0';
    return true;
}

/* Sets the kind and the value from `own`, a copy of the cell with room for a byte more. */
static void read_copy(const fastbp_csv_t *format, const char *text, size_t size, char *own,
                      ref_cell_t *cell) {
    const bool plain = format->decimal == '.' && format->thousands == '\0';
    cell->kind = size == 0 ? FASTBP_CELL_EMPTY : FASTBP_CELL_TEXT;
    cell->value = NAN;
    cell->marked = false;
    if (size == 0 || memchr(text, '\0', size) != NULL) return;
    if (plain) memcpy(own, text, size);
    else if (size > 128 || !plain_text(format, text, size, own)) return; /* MAX_MARKED */
    cell->kind = kind_of(own);
    if (cell->kind == FASTBP_CELL_TEXT) return;
    cell->value = strtod(own, NULL);
    cell->marked = strlen(own) != size || memcmp(own, text, size) != 0;
    if (cell->marked && cell->kind == FASTBP_CELL_DIGITS) cell->kind = FASTBP_CELL_NUMBER;
}

/* The blanks around a number that do not count: those of str.strip in Python. */
static const char *const blanks[] = {
    "\t",           "\n",           "\v",           "\f",           "\r",
    "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
    "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
    "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
    "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};

/* Takes one blank from the start or else the end of a cell; false if there is none. */
static bool strip_one(const char **text, size_t *size) {
    for (size_t i = 0; i < sizeof blanks / sizeof blanks[0]; ++i) {
        const size_t n = strlen(blanks[i]);
        if (*size < n) continue;
        const bool starts = memcmp(*text, blanks[i], n) == 0;
        if (!starts && memcmp(*text + *size - n, blanks[i], n) != 0) continue;
        *text += starts ? n : 0;
        *size -= n;
        return true;
    }
    return false;
}

/* A minus sign, U+2212, counts as a hyphen, but for a number that is too long for marks. */
void reference_cell(const fastbp_csv_t *format, const char *text, size_t size, ref_cell_t *cell) {
    while (strip_one(&text, &size)) continue;
    char *own = exact(size + 2, 1), *hyphen = exact(size + 2, 1);
    const bool minus = size > 3 && size - 2 <= 128 && memcmp(text, "\xe2\x88\x92", 3) == 0 &&
                       text[3] != '+' && text[3] != '-';
    if (minus) {
        hyphen[0] = '-';
        memcpy(hyphen + 1, text + 3, size - 3);
    }
    read_copy(format, minus ? hyphen : text, minus ? size - 2 : size, own, cell);
    drop(own);
    drop(hyphen);
}

/* ---- records ---- */

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f'; }
static bool line_break(char c) { return c == '\n' || c == '\r'; }

/* Text that is read from its beginning to its end. */
typedef struct {
    const fastbp_csv_t *format;
    const char *text;
    size_t size, at;
    int64_t line;
    bool has_long;
} text_t;

static bool ended(const text_t *t) { return t->at == t->size; }

/* A blank that does not separate cells, or any blank if blanks do. */
static bool is_padding(const text_t *t, size_t at) {
    return at < t->size && blank(t->text[at]) &&
           (t->format->delimiter == ' ' || t->text[at] != t->format->delimiter);
}

static bool separates(const text_t *t, size_t at) {
    const char c = t->text[at];
    return t->format->delimiter == ' ' ? c == ' ' || c == '\t' : c == t->format->delimiter;
}

/* Takes \n, \r or \r\n. */
static void next_line(text_t *t) {
    const bool two = t->text[t->at] == '\r' && t->at + 1 < t->size && t->text[t->at + 1] == '\n';
    t->at += two ? 2 : 1;
    ++t->line;
}

static void keep(text_t *t, size_t begin, size_t end, bool doubled, ref_cell_t *cell) {
    if (end - begin + 64 > FASTBP_CSV_MAX_CELL) t->has_long = true;
    while (begin < end && (blank(t->text[begin]) || line_break(t->text[begin]))) ++begin;
    while (begin < end && (blank(t->text[end - 1]) || line_break(t->text[end - 1]))) --end;
    *cell = (ref_cell_t){.at = begin, .size = end - begin, .doubled = doubled};
    reference_cell(t->format, t->text + begin, end - begin, cell);
}

static fastbp_csv_status_t read_quoted(text_t *t, ref_cell_t *cell) {
    const size_t begin = ++t->at;
    bool doubled = false;
    int64_t lines = 0;
    for (;; ++t->at) {
        if (ended(t)) return FASTBP_CSV_OPEN;
        const char c = t->text[t->at];
        const char next = t->at + 1 < t->size ? t->text[t->at + 1] : '\0';
        if (c == '"' && next != '"') break;
        if (c == '"') doubled = true, ++t->at;
        else if (c == '\n' || (c == '\r' && next != '\n')) ++lines;
    }
    keep(t, begin, t->at, doubled, cell);
    t->line += lines;
    const size_t end = ++t->at;
    while (is_padding(t, t->at)) ++t->at;
    if (ended(t) || line_break(t->text[t->at]) || t->text[t->at] == t->format->delimiter ||
        (t->format->delimiter == ' ' && t->at > end))
        return FASTBP_CSV_OK;
    return FASTBP_CSV_QUOTE;
}

/* Reads the cells of a record and its line break. Its cells go to record->cells. */
static void read_record(text_t *t, ref_record_t *record) {
    bool more = true;
    while (more && record->fault == FASTBP_CSV_OK) {
        ref_cell_t *cell = &record->cells[record->n_cells++];
        const size_t from = t->at;
        while (is_padding(t, t->at)) ++t->at;
        if (!ended(t) && t->text[t->at] == '"') {
            record->fault = read_quoted(t, cell);
            if (record->fault != FASTBP_CSV_OK) return;
        } else {
            const size_t begin = t->at;
            while (!ended(t) && !line_break(t->text[t->at]) && !separates(t, t->at)) ++t->at;
            keep(t, begin, t->at, false, cell);
        }
        if (t->format->delimiter == ' ')
            while (is_padding(t, t->at)) ++t->at;
        if (t->at - from + 64 > FASTBP_CSV_MAX_CELL) t->has_long = true;
        more = !ended(t) && !line_break(t->text[t->at]);
        if (more && t->format->delimiter != ' ') ++t->at;
    }
    if (!ended(t)) next_line(t);
}

/* Takes lines with blanks only; false if nothing else follows. */
static bool skip_lines(text_t *t) {
    for (;;) {
        const size_t begin = t->at;
        while (is_padding(t, t->at)) ++t->at;
        if (ended(t)) return false;
        if (!line_break(t->text[t->at])) {
            t->at = begin;
            return true;
        }
        next_line(t);
    }
}

ref_file_t reference_read(const fastbp_csv_t *format, const char *text, size_t size) {
    text_t t = {format, text, size, 0, 1, false};
    size_t lines = 1, ends = 1; /* at least as many as there are records and cells */
    for (size_t i = 0; i < size; ++i) {
        lines += line_break(text[i]);
        ends += line_break(text[i]) || separates(&t, i);
    }
    ref_file_t file = {exact(lines, sizeof *file.records), 0, false};
    ref_cell_t *cells = exact(ends, sizeof *cells);
    while (skip_lines(&t)) {
        ref_record_t *record = &file.records[file.n_records++];
        *record = (ref_record_t){.cells = cells, .line = t.line};
        read_record(&t, record);
        cells += record->n_cells;
        if (record->fault != FASTBP_CSV_OK) break;
    }
    file.has_long = t.has_long || size + 64 > FASTBP_CSV_MAX_CELL;
    return file;
}
