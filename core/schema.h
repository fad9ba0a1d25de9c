// SPDX-License-Identifier: ISC
// Schemas as flat tables, and the checker that runs over every message on every hop.
//
// A message is a C struct of little-endian integers at natural alignment, as the generated header
// shows it. Strings and byte strings are a uint16_t length followed by `capacity` bytes; arrays a
// uint16_t count followed (at the element's alignment) by `capacity` elements. Bytes behind a length
// or count, and padding, are zero. When the *last* field is a string or byte string, its unused tail
// is not sent: the message ends right behind the last used byte, then is padded with zero to a
// multiple of 8. So each value has exactly one encoding.
//
// Schema block (inside manifests and compiled systems): struct schema_header, then field_count
// struct schema_field, relation_count struct schema_relation, label_count struct schema_label.
// A block is valid if and only if schema_open() accepts it. Its digest is SHA-256 over the block
// with the digest field zero.
#ifndef CRENEL_CORE_SCHEMA_H
#define CRENEL_CORE_SCHEMA_H

#include "core/reason.h"
#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

#define SCHEMA_FIELDS_MAX 64u
#define SCHEMA_RELATIONS_MAX 16u
#define SCHEMA_LABELS_MAX 128u
#define SCHEMA_NAME_BYTES 48u // with the terminating zero: "reading/1"
#define SCHEMA_FIELD_NAME_BYTES 32u
#define SCHEMA_DIGEST_BYTES 32u

enum schema_type {
    SCHEMA_U8 = 1, SCHEMA_U16, SCHEMA_U32, SCHEMA_U64,
    SCHEMA_I8, SCHEMA_I16, SCHEMA_I32, SCHEMA_I64,
    SCHEMA_BOOL,   // one byte, 0 or 1
    SCHEMA_ENUM,   // one byte, index into labels
    SCHEMA_STRING, // uint16_t length, capacity bytes, each in the class
    SCHEMA_BYTES,  // uint16_t length, capacity bytes
    SCHEMA_ARRAY,  // uint16_t count, capacity elements of type `element`
    SCHEMA_SEALED, // as bytes, of which the fabric can read nothing but how many there are
    SCHEMA_RECORD, // only as the element of an array
};

// Fixed point: an integer type with `decimals` > 0; the value is integer / 10^decimals.

enum schema_class { // of strings
    SCHEMA_CLASS_UTF8 = 0, // shortest-form UTF-8 without control characters
    SCHEMA_CLASS_TOKEN,    // A-Z a-z 0-9 - _ . :
    SCHEMA_CLASS_HOST,     // a-z 0-9 - .
    SCHEMA_CLASS_PRINTABLE, // 0x20..0x7e
    SCHEMA_CLASS_TOPIC,    // UTF-8 without control characters, + and # : an MQTT topic name
};

// Where text may be put together with a language of its own. A field that denies a sink holds none of what means
// something there; core/schema_text.c says what that is.
enum schema_deny {
    SCHEMA_DENY_SQL = 1, SCHEMA_DENY_SHELL = 2, SCHEMA_DENY_HTML = 4,
    SCHEMA_DENY_CSV = 8, SCHEMA_DENY_LOG = 16, SCHEMA_DENY_PATH = 32,
    SCHEMA_DENY_ALL = 63,
};

struct schema_field {
    char name[SCHEMA_FIELD_NAME_BYTES]; // of a record's member "record.member"
    uint8_t type;     // enum schema_type
    uint8_t element;  // of an array: an integer type, bool, enumeration or SCHEMA_RECORD
    uint8_t class;    // of a string: enum schema_class
    uint8_t decimals; // of a fixed-point integer
    uint16_t offset;  // in the struct
    uint16_t capacity; // of string, bytes (bytes) and array (elements)
    uint16_t label_first, label_count; // of an enumeration, or an array of them
    uint8_t deny;         // of a string: bits of enum schema_deny
    uint8_t member_count; // of an array of records: how many fields behind this one are its members
    uint16_t stride;      // of an array of records and its members: bytes from one record to the next
    int64_t minimum; // of an integer or of each element; unsigned types: bit pattern of a uint64_t
    int64_t maximum;
    char unit[16];
};

enum schema_operator { SCHEMA_LESS = 1, SCHEMA_LESS_EQUAL, SCHEMA_EQUAL, SCHEMA_NOT_EQUAL };

// left operator right; both integers, or the length or count of a string, bytes or array; no members of an array.
struct schema_relation {
    uint16_t left, right; // field indices
    uint16_t operator;    // enum schema_operator
    uint16_t zero;
};

struct schema_label {
    char text[24];
};

struct schema_header {
    char name[SCHEMA_NAME_BYTES];
    uint8_t digest[SCHEMA_DIGEST_BYTES];
    uint32_t block_bytes; // of the whole block, a multiple of 8
    uint16_t field_count;
    uint16_t relation_count;
    uint16_t label_count;
    uint16_t struct_bytes; // of the C struct = largest message, a multiple of 8, <= ABI_PAYLOAD_BYTES_MAX
    uint16_t is_cut;       // 1: the last field is a string or bytes and its tail is not sent
    uint16_t zero;
};

_Static_assert(sizeof(struct schema_field) == 80, "schema_field");
_Static_assert(sizeof(struct schema_relation) == 8, "schema_relation");
_Static_assert(sizeof(struct schema_label) == 24, "schema_label");
_Static_assert(sizeof(struct schema_header) == 96, "schema_header");

// What the proofs (docs/proofs.md) call a good layout; schema_open() establishes it.
/*@ predicate type_is_integer(integer type) = SCHEMA_U8 <= type <= SCHEMA_I64;
    predicate type_is_text(integer type) =
        type == SCHEMA_STRING || type == SCHEMA_BYTES || type == SCHEMA_SEALED;
    predicate type_is_scalar(integer type) = SCHEMA_U8 <= type <= SCHEMA_ENUM;

    logic integer width_of(integer type) =
        type == SCHEMA_U16 || type == SCHEMA_I16 ? 2 :
        type == SCHEMA_U32 || type == SCHEMA_I32 ? 4 :
        type == SCHEMA_U64 || type == SCHEMA_I64 ? 8 : 1;
    logic integer aligned(integer offset, integer alignment) =
        (offset + alignment - 1) / alignment * alignment;

    // Where a field's elements begin; its end, of an array of records that of its count.
    logic integer elements_of(struct schema_field *f) =
        aligned(f->offset + 2, width_of(f->element));
    logic integer end_of(struct schema_field *f) =
        f->type == SCHEMA_STRING || f->type == SCHEMA_BYTES || f->type == SCHEMA_SEALED ?
            f->offset + 2 + f->capacity :
        f->type != SCHEMA_ARRAY ? f->offset + width_of(f->type) :
        f->element == SCHEMA_RECORD ? f->offset + 2 :
        elements_of(f) + f->capacity * width_of(f->element);
    // The end of an array of records, whose first member is behind it in the table.
    logic integer records_end(struct schema_field *f) = (f + 1)->offset + f->capacity * f->stride;
    predicate is_member(struct schema_field *f) = f->stride != 0 && f->member_count == 0;

    predicate field_is_formed(struct schema_field *f) =
        SCHEMA_U8 <= f->type <= SCHEMA_SEALED &&
        (f->type == SCHEMA_ARRAY ==> type_is_scalar(f->element) || f->element == SCHEMA_RECORD) &&
        (f->member_count != 0 <==> f->type == SCHEMA_ARRAY && f->element == SCHEMA_RECORD) &&
        (f->type >= SCHEMA_STRING ==> f->capacity > 0);
    predicate field_is_valid(struct schema_field *f) =
        field_is_formed(f) && end_of(f) <= 4096; // ABI_PAYLOAD_BYTES_MAX
    // Each field begins where the one before it allows, or later.
    predicate fields_are_laid_out(struct schema_field *f, integer count) =
        (\forall integer i; 0 <= i < count ==> field_is_valid(f + i)) &&
        (\forall integer i, j; 0 <= i < j < count ==> end_of(f + i) <= f[j].offset);
    // A member of an array whose records are `stride` apart, the first one at `start`.
    predicate member_is_laid_out(struct schema_field *m, integer start, integer stride) =
        m->type != SCHEMA_ARRAY && m->stride == stride && start <= m->offset && end_of(m) <= start + stride;
    // The members of an array of records are there, each inside its record, and all records are before `end`.
    predicate records_are_laid_out(struct schema_field *f, integer i, integer count, integer end) =
        i + f[i].member_count < count && f[i].stride > 0 && records_end(f + i) <= end &&
        (\forall integer m; i < m <= i + f[i].member_count ==>
            member_is_laid_out(f + m, f[i + 1].offset, f[i].stride)) &&
        (\forall integer j; i + f[i].member_count < j < count ==> records_end(f + i) <= f[j].offset);
    predicate arrays_are_laid_out(struct schema_field *f, integer count, integer end) =
        \forall integer i; 0 <= i < count && f[i].member_count != 0 ==> records_are_laid_out(f, i, count, end);
*/

struct schema { // a view into a block that was accepted; the block outlives it
    const struct schema_header *header;
    const struct schema_field *fields;
    const struct schema_relation *relations;
    const struct schema_label *labels;
};

/*@ predicate parts_are_readable(struct schema_header *h, struct schema_field *f,
                                 struct schema_relation *r, struct schema_label *l) =
        \valid_read(h) && 1 <= h->field_count <= SCHEMA_FIELDS_MAX &&
        h->relation_count <= SCHEMA_RELATIONS_MAX && h->label_count <= SCHEMA_LABELS_MAX &&
        \valid_read(f + (0 .. h->field_count - 1)) &&
        \valid_read(r + (0 .. h->relation_count - 1)) &&
        \valid_read(l + (0 .. h->label_count - 1));
    predicate layout_is_valid(struct schema_header *h, struct schema_field *f) =
        fields_are_laid_out(f, h->field_count) && h->struct_bytes <= 4096 && h->struct_bytes % 8 == 0 &&
        end_of(f + (h->field_count - 1)) <= h->struct_bytes &&
        arrays_are_laid_out(f, h->field_count, h->struct_bytes) &&
        (h->is_cut != 0 ==> type_is_text(f[h->field_count - 1].type) &&
            !is_member(f + (h->field_count - 1)));
    predicate relations_are_valid(struct schema_header *h, struct schema_field *f, struct schema_relation *r,
                                  integer count) =
        \forall integer i; 0 <= i < count ==>
            r[i].left < h->field_count && r[i].right < h->field_count &&
            !is_member(f + r[i].left) && !is_member(f + r[i].right);

    predicate schema_is_readable(struct schema *s) =
        \valid_read(s) && parts_are_readable(s->header, s->fields, s->relations, s->labels);
    predicate schema_is_valid(struct schema *s) =
        schema_is_readable(s) && layout_is_valid(s->header, s->fields) &&
        relations_are_valid(s->header, s->fields, s->relations, s->header->relation_count);
    logic struct schema_field *last_field(struct schema *s) =
        s->fields + (s->header->field_count - 1);
*/

// Each field of the message lies inside it; the last one's text counts as far as it is used. Members of arrays have
// no one value.
/*@ predicate value_is_inside(struct schema_field *f, integer size) =
        f->offset + (f->type >= SCHEMA_STRING ? 2 : width_of(f->type)) <= size;
    predicate text_is_inside(struct schema_field *f, uint8_t *message, integer size) =
        f->offset + 2 + message[f->offset] + 256 * message[f->offset + 1] <= size;
    predicate field_is_inside(struct schema_field *f, uint8_t *message, integer size) =
        value_is_inside(f, size) && (type_is_text(f->type) ==> text_is_inside(f, message, size));
    predicate message_is_sized(struct schema *s, uint8_t *message, integer size) =
        size <= s->header->struct_bytes && size % 8 == 0 &&
        \forall integer i; 0 <= i < s->header->field_count && !is_member(s->fields + i) ==>
            field_is_inside(s->fields + i, message, size);
*/

// Checks every offset, count, name and bound of a block (8-byte aligned) and the layout rules above.
/*@ requires \valid(schema) && (size > 0 ==> \valid_read(block + (0 .. size - 1)));
    assigns *schema;
    ensures \result == STATUS_OK ==> schema_is_valid(schema);
    ensures \result != STATUS_OK ==> *schema == \old(*schema); */
enum status schema_open(struct schema *schema, const uint8_t *block, size_t size) MUST_USE;

// ---- Plans ----
// What the checker asks of the numbers of a message is the same for each, whatever its type, when it is known where each of them
// lies. A schema's plan says so; it follows from the schema alone. (Its small numbers have 32 bits, as those of layouts have
// not: so a proof sees that who writes a plan writes to no schema.)

// Bytes inside one word of the message, which is eight bytes from a multiple of 8 on: what is above them is shifted out.
struct schema_number {
    uint64_t sign; // the bit of the number that counts less than nothing, or 0
    uint32_t word; // where the word begins
    uint32_t up, down;
};

// A number is within its range: compared at the top of 64 bits, where it needs neither mask nor sign.
struct schema_range {
    uint64_t least, span; // in that place; below the number span is ones
    uint32_t word, up;    // as of a number
    uint32_t reason;      // if it is not
    uint32_t field;
};

struct schema_comparison { // of a relation
    struct schema_number left, right;
    uint32_t operator, field;
};

#define SCHEMA_RANGES_MAX (3u * SCHEMA_FIELDS_MAX)

struct schema_plan {
    uint32_t least_bytes, most_bytes; // of a message
    uint32_t field_count;
    uint32_t end; // behind it no field has bytes
    uint32_t range_count, comparison_count;
    uint32_t next[SCHEMA_FIELDS_MAX + 1]; // the first field from here on that is no number and no member of an array
    struct schema_range ranges[SCHEMA_RANGES_MAX]; // in the order of the fields
    struct schema_comparison comparisons[SCHEMA_RELATIONS_MAX];
};

/*@ predicate word_is_inside(integer word, integer least) = word % 8 == 0 && word < least;
    predicate number_is_good(struct schema_number *n, integer least) =
        word_is_inside(n->word, least) && n->up < 64 && n->down < 64;
    predicate range_is_good(struct schema_range *r, integer count, integer least) =
        word_is_inside(r->word, least) && r->up < 64 && r->field < count &&
        REASON_RANGE <= r->reason <= REASON_PADDING;
    predicate ranges_are_good(struct schema_range *r, integer n, integer count, integer least) =
        \forall integer i; 0 <= i < n ==> range_is_good(r + i, count, least);
    predicate comparison_is_good(struct schema_comparison *c, integer count, integer least) =
        number_is_good(&c->left, least) && number_is_good(&c->right, least) && c->field < count;
    predicate comparisons_are_good(struct schema_comparison *c, integer n, integer count, integer least) =
        \forall integer i; 0 <= i < n ==> comparison_is_good(c + i, count, least);
    // More than a number: a text or an array.
    predicate is_part(struct schema_field *f) = f->type >= SCHEMA_STRING && !is_member(f);
    predicate next_is_good(integer next, struct schema_field *f, integer i, integer count) =
        i <= next <= count && (next < count ==> is_part(f + next)) &&
        \forall integer j; i <= j < next ==> !is_part(f + j);
    predicate nexts_are_good(uint32_t *next, struct schema_field *f, integer from, integer count) =
        \forall integer i; from <= i <= count ==> next_is_good(next[i], f, i, count);
    predicate plan_is_valid(struct schema_plan *p, struct schema *s) =
        \valid_read(p) && p->field_count == s->header->field_count &&
        p->most_bytes == s->header->struct_bytes &&
        p->least_bytes == (s->header->is_cut != 0 ? last_field(s)->offset + 2 : s->header->struct_bytes) &&
        p->range_count <= SCHEMA_RANGES_MAX && p->comparison_count <= SCHEMA_RELATIONS_MAX && p->end <= 4096 &&
        nexts_are_good(&p->next[0], s->fields, 0, p->field_count) &&
        ranges_are_good(&p->ranges[0], p->range_count, p->field_count, p->least_bytes) &&
        comparisons_are_good(&p->comparisons[0], p->comparison_count, p->field_count, p->least_bytes);
*/

/*@ requires schema_is_valid(schema) && \valid(plan);
    assigns *plan;
    ensures plan_is_valid(plan, schema); */
void schema_prepare(struct schema_plan *plan, const struct schema *schema);

// Verdict on one message: REASON_DONE if it is valid, else the first reason and the field's index in
// *field (or UINT16_MAX). Reads nothing outside message[0..size).
/*@ requires schema_is_valid(schema) && plan_is_valid(plan, schema) && \valid(field);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    assigns *field;
    ensures \result == REASON_DONE ==> message_is_sized{Pre}(schema, message, size);
    ensures \result == REASON_DONE ||
        REASON_LENGTH <= \result <= REASON_RELATION;
    ensures *field < \old(schema->header->field_count) || *field == UINT16_MAX; */
enum reason schema_judge(const struct schema *schema, const struct schema_plan *plan, const uint8_t *message, size_t size,
                         uint16_t *field) MUST_USE;

// The same, with a plan for this message alone.
/*@ requires schema_is_valid(schema) && \valid(field);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    assigns *field;
    ensures \result == REASON_DONE ==> message_is_sized{Pre}(schema, message, size);
    ensures \result == REASON_DONE ||
        REASON_LENGTH <= \result <= REASON_RELATION;
    ensures *field < \old(schema->header->field_count) || *field == UINT16_MAX; */
enum reason schema_check(const struct schema *schema, const uint8_t *message, size_t size,
                         uint16_t *field) MUST_USE;

// Index of a field by name, or -1.
int schema_field_index(const struct schema *schema, const char *name);

// Does the message hold exactly one value of the field, that the fabric can read? Not of an array, of a member of one, or
// of a sealed field. Only such fields may be keys, sequences and whatever else is looked at beyond its schema.
/*@ requires schema_is_readable(schema) && field < schema->header->field_count;
    assigns \nothing;
    ensures \result ==> !is_member(schema->fields + field) && schema->fields[field].type != SCHEMA_ARRAY; */
int schema_has_value(const struct schema *schema, uint16_t field);

// Integer, boolean or enumeration value, or length or count, of a checked message (of a member of an array of records:
// the first record's).
/*@ requires schema_is_valid(schema) && field < schema->header->field_count;
    requires \valid_read(message + (0 .. size - 1));
    requires value_is_inside(schema->fields + field, size) && size % 8 == 0;
    assigns \nothing;
    ensures type_is_text(schema->fields[field].type) ==> \result ==
        message[schema->fields[field].offset] + 256 * message[schema->fields[field].offset + 1]; */
int64_t schema_value(const struct schema *schema, uint16_t field, const uint8_t *message,
                     size_t size);

// Bytes of a string or byte string of a checked message; returns their number.
/*@ requires schema_is_valid(schema) && field < schema->header->field_count;
    requires \valid_read(message + (0 .. size - 1));
    requires field_is_inside(schema->fields + field, message, size) && size % 8 == 0;
    requires type_is_text(schema->fields[field].type);
    requires \valid(bytes) && \separated(bytes, schema);
    assigns *bytes;
    ensures *bytes == message + schema->fields[field].offset + 2;
    ensures schema->fields[field].offset + 2 + \result <= size; */
size_t schema_bytes(const struct schema *schema, uint16_t field, const uint8_t *message, size_t size,
                    const uint8_t **bytes);

// Store keys: each key field in order, unsigned integers big-endian at their width, signed ones with
// the sign bit flipped, strings and bytes as they are, ending in a zero byte unless last. Orders as the values do.
// Returns bytes written, or 0 when the key is longer than `capacity`.
/*@ requires schema_is_valid(schema);
    requires size > 0 ==> \valid_read(message + (0 .. size - 1));
    requires message_is_sized(schema, message, size);
    requires field_count <= 0xffff && \valid_read(fields + (0 .. field_count - 1));
    requires \forall integer i; 0 <= i < field_count ==> fields[i] < schema->header->field_count;
    requires capacity <= 0x100000 && (capacity > 0 ==> \valid(key + (0 .. capacity - 1)));
    requires \separated(key + (0 .. capacity - 1), message + (0 .. size - 1), schema,
        schema->header, schema->fields + (0 .. schema->header->field_count - 1));
    assigns key[0 .. capacity - 1];
    ensures \result <= capacity; */
size_t schema_key(const struct schema *schema, const uint16_t *fields, size_t field_count,
                  const uint8_t *message, size_t size, uint8_t *key, size_t capacity);

#endif
