/* csv.h: the public interface of the reader of .csv files. It cuts blocks of bytes into records and
 * cells, tells what each cell is, and reads plain numbers to the nearest double. It knows nothing
 * of networks or files, allocates nothing, and is safe on any bytes.
 *
 * Cells are separated by a delimiter, records by \n, \r or \r\n; lines of blanks alone are passed
 * over. A cell loses the blanks around it; "…" keeps delimiters and line breaks, "" in it is one
 * quote. A caller hands in blocks that begin with a record, and again what was not used. */
#ifndef FASTBP_TEXT_CSV_H
#define FASTBP_TEXT_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cell.h"

#define FASTBP_CSV_MAX_CELL ((size_t)1 << 17) /* bytes: a longer one is a quote left open */

typedef enum {
    FASTBP_CSV_OK = 0,
    FASTBP_CSV_RAGGED = 1, /* a record of n_cells, not n_columns */
    FASTBP_CSV_QUOTE = 2,  /* text after a closing quote */
    FASTBP_CSV_OPEN = 3,   /* the last block ends within quotes */
    FASTBP_CSV_LONG = 4,   /* a cell of more than FASTBP_CSV_MAX_CELL bytes */
} fastbp_csv_status_t;

/* The format of a file, and how far it has been read. */
typedef struct {
    char delimiter;   /* an ASCII character; ' ' means any run of blanks and tabs */
    char decimal;     /* of numbers: '.' or ',' */
    char thousands;   /* between groups of three digits; ' ' stands for Unicode's too; 0: none */
    long n_columns;   /* cells of every record; 0: the first record tells */
    int64_t line;     /* where the next record begins, or the faulty one, from 1 */
    int64_t n_rows;   /* records read so far */
    long n_cells;     /* of the faulty record, after FASTBP_CSV_RAGGED */
    int64_t n_marked; /* cells read as numbers with a decimal comma or thousands marks */
} fastbp_csv_t;

typedef struct {
    const char *bytes; /* NULL only where size is 0 */
    size_t size;
    bool last; /* nothing follows this block */
} fastbp_csv_block_t;

/* Where a cell of a block lies, without quotes and outer blanks. */
typedef struct {
    size_t at, size;
    bool doubled; /* "" in it stands for one quote */
} fastbp_csv_span_t;

/* What the cells of each column are: counts[j·FASTBP_CELL_KINDS + kind] cells of a kind, and the
 * record of the first, where there is one. kinds is scratch of n_columns. */
typedef struct {
    int64_t *counts, *first;
    unsigned char *kinds;
} fastbp_csv_columns_t;

/* Reads at most max_rows whole records of a block, of csv->n_columns cells each. Cell j of record i
 * is values[i·n_columns + j], NaN for EMPTY and TEXT, and is added to its column's counts; record i
 * begins in lines[i]. Writes how many records and bytes were used. values has room for max_rows
 * records. After a fault, csv->line is where the faulty record begins. */
fastbp_csv_status_t fastbp_csv_numbers(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                       long max_rows, const fastbp_csv_columns_t *columns,
                                       double *values, int64_t *lines, long *n_rows, size_t *used);

/* The same, for where the cells lie of the n_chosen columns, in ascending order:
 * spans[i·n_chosen + c]. */
fastbp_csv_status_t fastbp_csv_spans(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                     long max_rows, const long *chosen, long n_chosen,
                                     fastbp_csv_span_t *spans, long *n_rows, size_t *used);

/* Number of cells of the first record, in *n_columns; 0 where the block does not hold it whole, or
 * holds none. Nothing is used. */
fastbp_csv_status_t fastbp_csv_width(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                     long *n_columns);

#endif
