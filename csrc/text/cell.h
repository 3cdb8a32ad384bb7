/* cell.h: the kinds of cells in a .csv file. Numbers are told apart by how they are written, since
 * 007 or 1E2 may be a code rather than a number. */
#ifndef FASTBP_TEXT_CELL_H
#define FASTBP_TEXT_CELL_H

typedef enum {
    FASTBP_CELL_EMPTY = 0,
    FASTBP_CELL_DIGITS = 1, /* 0, 12: digits alone, no leading zero */
    FASTBP_CELL_NUMBER = 2, /* -12, 1.5, 1e-5: with a sign, a point or the sign of an exponent */
    FASTBP_CELL_CODE = 3,   /* 1E2: digits, e, digits; programs write 1e+02 or 1.0E2 */
    FASTBP_CELL_ZEROS = 4,  /* 007: digits alone, with a leading zero */
    FASTBP_CELL_PADDED = 5, /* -007, 01.5: any other number with a leading zero */
    FASTBP_CELL_TEXT = 6,
    FASTBP_CELL_KINDS
} fastbp_cell_kind_t;

#endif
