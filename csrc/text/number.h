/* number.h: the kind of a cell, and the double nearest to a plain decimal number. */
#ifndef FASTBP_TEXT_NUMBER_H
#define FASTBP_TEXT_NUMBER_H

#include <stdbool.h>

#include "cell.h"

/* Reads the plain number, with a decimal point, that begins at p < end. Returns its kind and sets
 * *value, and *stop to its end. Returns TEXT, with *value and *stop undefined, if no number begins
 * there. */
fastbp_cell_kind_t fbp_plain_number(const char *p, const char *end, double *value,
                                    const char **stop);

/* The kind of the cell [p, end), without blanks of Unicode around it. Sets *value, NaN for EMPTY
 * and TEXT and infinity for numbers beyond double, and *marked to whether a decimal comma or a
 * thousands mark was read. */
fastbp_cell_kind_t fbp_cell(const char *p, const char *end, char decimal, char thousands,
                            double *value, bool *marked);

#endif
