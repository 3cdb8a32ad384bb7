/* csv_reference.h: a second reader of .csv text, written from the contract in text/csv.h alone. It
 * takes a whole file, goes over it byte by byte, and keeps every cell. */
#ifndef CSV_REFERENCE_H
#define CSV_REFERENCE_H

#include <text/csv.h>

typedef struct {
    size_t at, size;
    bool doubled;
    fastbp_cell_kind_t kind;
    double value;
    bool marked;
} ref_cell_t;

typedef struct {
    ref_cell_t *cells;
    ptrdiff_t n_cells;
    int64_t line;
    fastbp_csv_status_t fault; /* QUOTE or OPEN: the last record of the file; or OK */
} ref_record_t;

typedef struct {
    ref_record_t *records;
    ptrdiff_t n_records;
    bool has_long; /* a cell is about as long as the longest allowed; its fate is not modelled */
} ref_file_t;

/* Reads a file to its end or to the first fault. The memory is that of `exact`. */
ref_file_t reference_read(const fastbp_csv_t *format, const char *text, size_t size);

/* The kind and value of the text of a cell. */
void reference_cell(const fastbp_csv_t *format, const char *text, size_t size, ref_cell_t *cell);

#endif
