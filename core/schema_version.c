// SPDX-License-Identifier: ISC
// Which schemas extend another, and where a message is cut.
//
// The cut is canonical without looking at a byte. Fields that both have lie at the same offsets. Behind the older one's
// last field a message of the older has only zeros, up to a multiple of 8; where the newer one's next field takes part
// of that place, its bytes are left out. The older one's text at the end is a field among others in the newer one, whole
// and with a tail of zeros, and ends behind its last used byte when it is cut.
#include "core/schema_version.h"

#include "core/schema_layout.h"

#include <string.h>

unsigned schema_fields_shared(const struct schema *schema, const struct schema *older)
{
    unsigned i = 0, count = older->header->field_count;
    if (schema->header->field_count < count)
        count = schema->header->field_count;
    for (; i < count; i++) {
        const struct schema_field *field = &schema->fields[i];
        size_t first = field->label_first;
        if (memcmp(field, &older->fields[i], sizeof *field) != 0 ||
            memcmp(schema->labels + first, older->labels + first, field->label_count * sizeof *schema->labels) != 0)
            return i;
    }
    return i;
}

int schema_extends(const struct schema *schema, const struct schema *older)
{
    return schema_fields_shared(schema, older) == older->header->field_count &&
           schema->header->relation_count >= older->header->relation_count &&
           memcmp(schema->relations, older->relations,
                  older->header->relation_count * sizeof *older->relations) == 0;
}

size_t schema_cut(const struct schema *schema, const struct schema *older, const uint8_t *message, size_t size,
                  size_t *kept)
{
    uint16_t count = older->header->field_count;
    size_t shown = older->header->struct_bytes, end = shown;
    if (older->header->is_cut) {
        end = older->fields[count - 1].offset + 2u;
        if (end <= size)
            end += message[end - 2] + 256u * message[end - 1];
        if (end < shown)
            shown = align_up(end, 8);
    } else if (schema->header->field_count > count && schema->fields[count].offset < shown) {
        end = schema->fields[count].offset;
    }
    *kept = end < size ? end : size; // more than there is has no checked message
    if (*kept > shown)
        *kept = shown;
    return shown;
}
