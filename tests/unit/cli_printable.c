// SPDX-License-Identifier: ISC
// What the command line prints of others' texts.
#include "cli/printable.h"
#include "tests/unit/test.h"

#include <string.h>

static int becomes(const char *text, const char *wanted)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    printable_clean(copy);
    return strcmp(copy, wanted) == 0;
}

TEST(control_characters_are_taken_out)
{
    expect(becomes("plain ~", "plain ~") && becomes("", ""));
    expect(becomes("K\xc3\xa4se \xe2\x82\xac \xf0\x9f\x98\x80", "K\xc3\xa4se \xe2\x82\xac \xf0\x9f\x98\x80"));
    expect(becomes("\x1b[2J\r\n\t\x7f", "?[2J????"));
    expect(becomes("\xc2\x9b" "2J\xc2\xa0", "??2J\xc2\xa0")); // U+009B; U+00A0 is a space
    expect(becomes("\x9b" "2J", "?2J") && becomes("\xc0\x9b", "??") && becomes("a\xe2\x82", "a??") && becomes("\xff", "?"));
}

TEST(json_is_cleaned_all_over)
{
    cJSON *json = cJSON_Parse("{\"a\\u001b\":[\"\\u009b\",{\"b\":\"\\u007f\"}],\"c\":1}");
    printable_clean_json(json);
    char *text = cJSON_PrintUnformatted(json);
    expect(text != NULL && strcmp(text, "{\"a?\":[\"??\",{\"b\":\"?\"}],\"c\":1}") == 0);
    cJSON_free(text);
    cJSON_Delete(json);
}

static int is_time(double time_ms, const char *wanted)
{
    char text[32];
    printable_time(time_ms, text);
    return strcmp(text, wanted) == 0;
}

TEST(times)
{
    expect(is_time(0, "1970-01-01T00:00:00Z") && is_time(1700000000999, "2023-11-14T22:13:20Z"));
    expect(is_time(253402300799999, "9999-12-31T23:59:59Z") && is_time(253402300800000, "?"));
    expect(is_time(-1, "?") && is_time(1e300, "?") && is_time(0.0 / 0.0, "?"));
}

int main(void)
{
    RUN(control_characters_are_taken_out);
    RUN(json_is_cleaned_all_over);
    RUN(times);
    TEST_END();
}
