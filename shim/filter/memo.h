// What Go reads and writes of the memo in filter_memo.c.
#ifndef BERTH_FILTER_H
#define BERTH_FILTER_H

#include <stddef.h>
#include <stdint.h>

enum { BERTH_FILTER_PLAIN, BERTH_FILTER_CAPTURE, BERTH_FILTER_REPLAY };

void berth_filter_mode(int mode);
void berth_filter_load(const void *program, size_t length, uint64_t sum_a, uint64_t sum_b);
const void *berth_filter_program(size_t *length);
void berth_filter_sums(uint64_t *sum_a, uint64_t *sum_b);

#endif
