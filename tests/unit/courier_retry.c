// SPDX-License-Identifier: ISC
// How long a courier waits before it connects again.
#include "courier/retry.h"

#include "tests/unit/test.h"

TEST(waits_are_doubled_up_to_the_most_and_differ_by_chance)
{
    int64_t next_ms = RETRY_LEAST_MS, whole_ms = RETRY_LEAST_MS;
    unsigned shorter = 0;
    for (unsigned i = 0; i < 100; i++) {
        int64_t wait_ms = retry_wait_ms(&next_ms);
        expect(wait_ms <= whole_ms && wait_ms >= whole_ms - whole_ms / 4 - 1);
        shorter += wait_ms < whole_ms;
        whole_ms = whole_ms * 2 < RETRY_MOST_MS ? whole_ms * 2 : RETRY_MOST_MS;
        expect(next_ms == whole_ms);
    }
    expect(whole_ms == RETRY_MOST_MS && shorter > 50);
}

int main(void)
{
    RUN(waits_are_doubled_up_to_the_most_and_differ_by_chance);
    TEST_END();
}
