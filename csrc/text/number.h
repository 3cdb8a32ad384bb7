/* number.h: what a cell is, and the double nearest to a plain decimal number. */
#ifndef FASTBP_TEXT_NUMBER_H
#define FASTBP_TEXT_NUMBER_H

#include <stdbool.h>

#include "cell.h"

/* The plain number, with a point, that begins at p < end, and where it ends; TEXT, with *value and
 * *stop undefined, where none begins. */
fastbp_cell_kind_t fbp_plain_number(const char *p, const char *end, double *value,
                                    const char **stop);

/* The kind of the cell [p, end), and its value, NaN for EMPTY and TEXT. *marked tells whether a
 * decimal comma or a thousands mark was read. Infinity for numbers beyond double. */
fastbp_cell_kind_t fbp_cell(const char *p, const char *end, char decimal, char thousands,
                            double *value, bool *marked);

#endif
