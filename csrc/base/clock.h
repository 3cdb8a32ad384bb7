/* clock.h: seconds on a clock that never steps back. */
#ifndef FASTBP_BASE_CLOCK_H
#define FASTBP_BASE_CLOCK_H

double fbp_seconds(void);

#endif
