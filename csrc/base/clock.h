/* clock.h: seconds on a clock that never goes backwards. */
#ifndef FASTBP_BASE_CLOCK_H
#define FASTBP_BASE_CLOCK_H

double fbp_seconds(void);

#endif
