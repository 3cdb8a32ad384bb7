/* csv.h: the public interface of the reader of .csv files. It splits blocks of bytes into records
 * and cells, determines the kind of each cell, reads plain numbers to the nearest double, and finds
 * the distinct texts of each column. It knows nothing of networks or files, allocates nothing but
 * texts, and is safe on any bytes.
 *
 * Cells are separated by a delimiter, records by \n, \r or \r\n. Lines with blanks only, and
 * comments, are skipped. Blanks around a cell are dropped; those of Unicode only say nothing about
 * its kind. A cell in "…" may hold delimiters and line breaks, and "" in it is one quote. The
 * caller hands in blocks that begin at a record; what one call leaves unused, the caller hands in
 * again at the start of the next block. */
#ifndef FASTBP_TEXT_CSV_H
#define FASTBP_TEXT_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cell.h"
#include "texts.h"

#define FASTBP_CSV_MAX_CELL ((size_t)1 << 17) /* bytes; a longer cell means an open quote */

typedef enum {
    FASTBP_CSV_OK = 0,
    FASTBP_CSV_RAGGED = 1,  /* a record has n_cells cells, not n_columns */
    FASTBP_CSV_QUOTE = 2,   /* text after a closing quote */
    FASTBP_CSV_OPEN = 3,    /* the last block ends within quotes */
    FASTBP_CSV_LONG = 4,    /* a cell has more than FASTBP_CSV_MAX_CELL bytes */
    FASTBP_CSV_CLOSED = 5,  /* there is no memory for a text, and its column is closed */
    FASTBP_CSV_LIMITED = 6, /* the same, since the texts reached their limit */
} fastbp_csv_status_t;

/* The format of a file, and how much of it has been read. */
typedef struct {
    char delimiter; /* an ASCII character; ' ' means any run of blanks and tabs */
    char decimal;   /* the decimal mark: '.' or ',' */
    char thousands; /* between groups of three digits; ' ' also means Unicode's spaces; 0: none */
    char comment;   /* a line that begins with it is skipped; 0: none */
    ptrdiff_t n_columns; /* cells per record; 0: as many as the first record has */
    int64_t line;        /* the line, from 1, where the next record begins, or the faulty one */
    int64_t n_rows;      /* records read so far */
    ptrdiff_t n_cells;   /* cells of the faulty record, after FASTBP_CSV_RAGGED */
    int64_t n_marked;    /* cells read as numbers with a decimal comma or thousands marks */
} fastbp_csv_t;

typedef struct {
    const char *bytes; /* NULL only if size is 0 */
    size_t size;
    bool last; /* the file ends with this block */
} fastbp_csv_block_t;

/* The kinds of the cells in each column: counts[j·FASTBP_CELL_KINDS + kind] is the number of cells
 * of a kind in column j, and first[…], at the same place, the record of the first such cell, if
 * there is one. kinds is scratch for n_columns elements. texts takes the cells of kind TEXT, unless
 * it is NULL. */
typedef struct {
    int64_t *counts, *first;
    unsigned char *kinds;
    fastbp_texts_t *texts;
} fastbp_csv_columns_t;

/* Reads at most max_rows whole records of a block, with csv->n_columns cells each. Cell j of record
 * i goes to values[i·n_columns + j], NaN for EMPTY and TEXT, and is counted in its column; the line
 * of record i goes to lines[i]. values has room for max_rows records. Sets *n_rows and *used to the
 * numbers of records and bytes used. After a fault, csv->line is the line of the faulty record.
 *
 * If there are texts, the NaN of a TEXT has the code of its text, so that no other memory is needed
 * for it: fastbp_csv_codes reads it. It has none if the column is closed. */
fastbp_csv_status_t fastbp_csv_numbers(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                       ptrdiff_t max_rows, const fastbp_csv_columns_t *columns,
                                       double *values, int64_t *lines, ptrdiff_t *n_rows,
                                       size_t *used);

/* Reads the codes of the texts in a column of values, whose rows are `stride` elements apart: -1
 * for a number, and `empty` for a NaN without a code. Returns how many of the latter there are. */
ptrdiff_t fastbp_csv_codes(int32_t *codes, const double *values, ptrdiff_t n_rows, ptrdiff_t stride,
                           int32_t empty);

/* Reads the texts of n_chosen columns, in ascending order, numbers among them. Cell c of those of
 * record i has the code codes[i·n_chosen + c] in column c of texts; -1 where wanted, of the same
 * shape or NULL, is 0. The rest is as for fastbp_csv_numbers. */
fastbp_csv_status_t fastbp_csv_texts(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                     ptrdiff_t max_rows, const ptrdiff_t *chosen,
                                     ptrdiff_t n_chosen, const unsigned char *wanted,
                                     fastbp_texts_t *texts, int64_t *codes, ptrdiff_t *n_rows,
                                     size_t *used);

/* Sets *n_columns to the number of cells of the first record; to 0 if the block has no whole
 * record. Uses nothing of the block. */
fastbp_csv_status_t fastbp_csv_width(fastbp_csv_t *csv, const fastbp_csv_block_t *block,
                                     ptrdiff_t *n_columns);

#endif
