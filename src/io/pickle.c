#include "io/pickle.h"

#include <string.h>

#include "base/error.h"

enum { MAX_PROTOCOL = 5 }; // protocol 5 adds opcodes for buffers only, which are refused

// Opcodes as Python's pickletools names them.
enum {
    MARK = '(',
    STOP = '.',
    POP = '0',
    POP_MARK = '1',
    DUP = '2',
    NONE = 'N',
    BINFLOAT = 'G',
    BINPERSID = 'Q',
    REDUCE = 'R',
    APPEND = 'a',
    BUILD = 'b',
    GLOBAL = 'c',
    DICT = 'd',
    APPENDS = 'e',
    LIST = 'l',
    SETITEM = 's',
    TUPLE = 't',
    SETITEMS = 'u',
    EMPTY_DICT = '}',
    EMPTY_LIST = ']',
    EMPTY_TUPLE = ')',
    PROTO = 0x80,
    NEWOBJ = 0x81,
    TUPLE1 = 0x85,
    TUPLE2 = 0x86,
    TUPLE3 = 0x87,
    NEWTRUE = 0x88,
    NEWFALSE = 0x89,
    EMPTY_SET = 0x8f,
    ADDITEMS = 0x90,
    FROZENSET = 0x91,
    NEWOBJ_EX = 0x92,
    STACK_GLOBAL = 0x93,
    MEMOIZE = 0x94,
    FRAME = 0x95
};

// Opcodes whose argument is a little-endian number of `width` bytes, and what follows from it.
static const struct operand {
    unsigned char op, width;
    enum { PUSH_INT, PUSH_DATA, GET, PUT } action;
    aleat_pickle_kind kind;
} operands[] = {
    {'K', 1, PUSH_INT, ALEAT_PICKLE_INT},     // BININT1
    {'M', 2, PUSH_INT, ALEAT_PICKLE_INT},     // BININT2
    {'J', 4, PUSH_INT, ALEAT_PICKLE_INT},     // BININT
    {0x8a, 1, PUSH_DATA, ALEAT_PICKLE_LONG},  // LONG1
    {0x8b, 4, PUSH_DATA, ALEAT_PICKLE_LONG},  // LONG4
    {0x8c, 1, PUSH_DATA, ALEAT_PICKLE_TEXT},  // SHORT_BINUNICODE
    {'X', 4, PUSH_DATA, ALEAT_PICKLE_TEXT},   // BINUNICODE
    {0x8d, 8, PUSH_DATA, ALEAT_PICKLE_TEXT},  // BINUNICODE8
    {'U', 1, PUSH_DATA, ALEAT_PICKLE_TEXT},   // SHORT_BINSTRING
    {'T', 4, PUSH_DATA, ALEAT_PICKLE_TEXT},   // BINSTRING
    {'C', 1, PUSH_DATA, ALEAT_PICKLE_BYTES},  // SHORT_BINBYTES
    {'B', 4, PUSH_DATA, ALEAT_PICKLE_BYTES},  // BINBYTES
    {0x8e, 8, PUSH_DATA, ALEAT_PICKLE_BYTES}, // BINBYTES8
    {'h', 1, GET, ALEAT_PICKLE_NONE},         // BINGET
    {'j', 4, GET, ALEAT_PICKLE_NONE},         // LONG_BINGET
    {'q', 1, PUT, ALEAT_PICKLE_NONE},         // BINPUT
    {'r', 4, PUT, ALEAT_PICKLE_NONE},         // LONG_BINPUT
};

aleat_status aleat_pickle_fail_memory(const aleat_pickle *pickle, aleat_error *err)
{
    if (!pickle->arena.over_limit)
        return aleat_fail_memory(err, "pickle");
    return aleat_fail(err, ALEAT_ERR_FORMAT,
                      "pickle needs more than %zu MiB: more than a file of this size can mean",
                      pickle->arena.limit >> 20);
}

static aleat_status fail_end(aleat_error *err)
{
    return aleat_fail(err, ALEAT_ERR_FORMAT, "pickle ends early");
}

static aleat_status fail_stack(aleat_error *err)
{
    return aleat_fail(err, ALEAT_ERR_FORMAT, "pickle is damaged: a value of the wrong kind");
}

static aleat_status reserve(aleat_pickle *pickle, aleat_pickle_list *list, size_t more,
                            aleat_error *err)
{
    if (list->capacity - list->count >= more)
        return ALEAT_OK;
    // More than 2^59 items cannot be: each came from a byte of input.
    const size_t capacity = list->count + more + list->capacity;
    aleat_pickle_value *items = aleat_arena_alloc(&pickle->arena, capacity * sizeof *items);
    if (!items)
        return aleat_pickle_fail_memory(pickle, err);
    if (list->count)
        memcpy(items, list->items, list->count * sizeof *items);
    list->items = items;
    list->capacity = capacity;
    return ALEAT_OK;
}

aleat_status aleat_pickle_new_list(aleat_pickle *pickle, aleat_pickle_kind kind,
                                   aleat_pickle_value *out, aleat_error *err)
{
    aleat_pickle_list *list = aleat_arena_alloc(&pickle->arena, sizeof *list);
    if (!list)
        return aleat_pickle_fail_memory(pickle, err);
    memset(list, 0, sizeof *list);
    *out = (aleat_pickle_value){.kind = kind, .as.list = list};
    return ALEAT_OK;
}

aleat_status aleat_pickle_append(aleat_pickle *pickle, aleat_pickle_list *list,
                                 const aleat_pickle_value *items, size_t count, aleat_error *err)
{
    if (count == 0)
        return ALEAT_OK;
    const aleat_status st = reserve(pickle, list, count, err);
    if (st)
        return st;
    memcpy(list->items + list->count, items, count * sizeof *items);
    list->count += count;
    return ALEAT_OK;
}

static aleat_status push(aleat_pickle *pickle, aleat_pickle_value value, aleat_error *err)
{
    return aleat_pickle_append(pickle, &pickle->stack, &value, 1, err);
}

// The value `depth` below the top, or NULL if there is none or a mark.
static aleat_pickle_value *peek(aleat_pickle *pickle, size_t depth)
{
    aleat_pickle_list *stack = &pickle->stack;
    if (depth >= stack->count)
        return NULL;
    aleat_pickle_value *value = &stack->items[stack->count - 1 - depth];
    return value->kind == ALEAT_PICKLE_MARK ? NULL : value;
}

// How many values are above the last mark; false if there is none.
static bool above_mark(aleat_pickle *pickle, size_t *count)
{
    size_t i = pickle->stack.count;
    while (i > 0 && pickle->stack.items[i - 1].kind != ALEAT_PICKLE_MARK)
        i--;
    *count = pickle->stack.count - i;
    return i > 0;
}

static uint64_t load_number(const unsigned char *at, int width)
{
    uint64_t number = 0;
    for (int i = 0; i < width; i++)
        number |= (uint64_t)at[i] << (8 * i);
    return number;
}

// Takes `len` bytes of input; NULL if there are fewer.
static const unsigned char *take(aleat_pickle *pickle, uint64_t len)
{
    if (len > (uint64_t)(pickle->end - pickle->at))
        return NULL;
    const unsigned char *bytes = pickle->at;
    pickle->at += len;
    return bytes;
}

static aleat_status push_data(aleat_pickle *pickle, aleat_pickle_kind kind, uint64_t len,
                              aleat_error *err)
{
    const unsigned char *bytes = take(pickle, len);
    if (!bytes || len > UINT32_MAX)
        return fail_end(err);
    aleat_pickle_value value = {.kind = kind, .len = (uint32_t)len, .as.text = (const char *)bytes};
    if (kind == ALEAT_PICKLE_LONG && len <= 8) { // two's complement: extend the sign
        uint64_t number = load_number(bytes, (int)len);
        if (len > 0 && len < 8 && bytes[len - 1] & 0x80)
            number |= UINT64_MAX << (8 * len);
        value = (aleat_pickle_value){.kind = ALEAT_PICKLE_INT, .as.integer = (int64_t)number};
    }
    return push(pickle, value, err);
}

static aleat_status get_memo(aleat_pickle *pickle, uint64_t i, aleat_error *err)
{
    if (i >= pickle->memo.count || pickle->memo.items[i].kind == ALEAT_PICKLE_MARK)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "pickle is damaged: no value %llu",
                          (unsigned long long)i);
    return push(pickle, pickle->memo.items[i], err);
}

static aleat_status put_memo(aleat_pickle *pickle, uint64_t i, aleat_error *err)
{
    const aleat_pickle_value *top = peek(pickle, 0);
    aleat_pickle_list *memo = &pickle->memo;
    // Writers number values as they come, so a number beyond the opcodes read is damage, and a way
    // to ask for much memory.
    if (!top || i > pickle->n_ops)
        return fail_stack(err);
    if (i >= memo->count) {
        const aleat_status st = reserve(pickle, memo, (size_t)i + 1 - memo->count, err);
        if (st)
            return st;
        while (memo->count <= i) // not yet given
            memo->items[memo->count++] = (aleat_pickle_value){.kind = ALEAT_PICKLE_MARK};
    }
    memo->items[i] = *top;
    return ALEAT_OK;
}

static aleat_status run_operand(aleat_pickle *pickle, const struct operand *operand,
                                aleat_error *err)
{
    const unsigned char *bytes = take(pickle, operand->width);
    if (!bytes)
        return fail_end(err);
    const uint64_t number = load_number(bytes, operand->width);
    switch (operand->action) {
    case PUSH_INT: {
        // Only the four-byte form is signed.
        const int64_t i = operand->width == 4 ? (int32_t)(uint32_t)number : (int64_t)number;
        return push(pickle, (aleat_pickle_value){.kind = ALEAT_PICKLE_INT, .as.integer = i}, err);
    }
    case PUSH_DATA: return push_data(pickle, operand->kind, number, err);
    case GET: return get_memo(pickle, number, err);
    case PUT: return put_memo(pickle, number, err);
    }
    return ALEAT_OK;
}

// Replaces the `count` values on top, and `below` more under them, by a list of the former.
static aleat_status collect(aleat_pickle *pickle, aleat_pickle_kind kind, size_t count,
                            size_t below, aleat_error *err)
{
    aleat_pickle_list *stack = &pickle->stack;
    aleat_pickle_value made = {0};
    if (count + below > stack->count || (kind == ALEAT_PICKLE_DICT && count % 2))
        return fail_stack(err);
    const aleat_pickle_value *items = stack->items + stack->count - count;
    for (size_t i = 0; i < count; i++)
        if (items[i].kind == ALEAT_PICKLE_MARK)
            return fail_stack(err);
    aleat_status st = aleat_pickle_new_list(pickle, kind, &made, err);
    if (!st)
        st = aleat_pickle_append(pickle, made.as.list, items, count, err);
    if (st)
        return st;
    stack->count -= count + below;
    return push(pickle, made, err);
}

static aleat_status collect_to_mark(aleat_pickle *pickle, aleat_pickle_kind kind, aleat_error *err)
{
    size_t count;
    if (!above_mark(pickle, &count))
        return fail_stack(err);
    return collect(pickle, kind, count, 1, err);
}

// Moves the `count` values on top (and `below` under them) into the container beneath.
static aleat_status extend(aleat_pickle *pickle, aleat_pickle_kind kind, size_t count, size_t below,
                           aleat_error *err)
{
    aleat_pickle_list *stack = &pickle->stack;
    if (count + below + 1 > stack->count || (kind == ALEAT_PICKLE_DICT && count % 2))
        return fail_stack(err);
    const aleat_pickle_value *items = stack->items + stack->count - count;
    const aleat_pickle_value *into = items - below - 1;
    for (size_t i = 0; i < count; i++)
        if (items[i].kind == ALEAT_PICKLE_MARK)
            return fail_stack(err);
    if (into->kind != kind && into->kind != ALEAT_PICKLE_OPAQUE)
        return fail_stack(err);
    if (into->kind == kind) {
        const aleat_status st = aleat_pickle_append(pickle, into->as.list, items, count, err);
        if (st)
            return st;
    }
    stack->count -= count + below;
    return ALEAT_OK;
}

static aleat_status extend_to_mark(aleat_pickle *pickle, aleat_pickle_kind kind, aleat_error *err)
{
    size_t count;
    if (!above_mark(pickle, &count))
        return fail_stack(err);
    return extend(pickle, kind, count, 1, err);
}

// A line of text up to a newline, as GLOBAL has two of.
static bool take_line(aleat_pickle *pickle, aleat_pickle_value *out)
{
    const unsigned char *begin = pickle->at;
    const unsigned char *newline = memchr(begin, '\n', (size_t)(pickle->end - begin));
    if (!newline || newline - begin > UINT16_MAX)
        return false;
    *out = (aleat_pickle_value){.kind = ALEAT_PICKLE_TEXT,
                                .len = (uint32_t)(newline - begin),
                                .as.text = (const char *)begin};
    pickle->at = newline + 1;
    return true;
}

static aleat_status run_global(aleat_pickle *pickle, bool from_stack, aleat_error *err)
{
    aleat_pickle_value module, name, found;
    if (from_stack) {
        const aleat_pickle_value *top = peek(pickle, 0), *under = peek(pickle, 1);
        if (!top || !under || top->kind != ALEAT_PICKLE_TEXT || under->kind != ALEAT_PICKLE_TEXT)
            return fail_stack(err);
        name = *top;
        module = *under;
        pickle->stack.count -= 2;
    } else if (!take_line(pickle, &module) || !take_line(pickle, &name)) {
        return fail_end(err);
    }
    const aleat_status st = aleat_pickle_global(&module, &name, &found, err);
    return st ? st : push(pickle, found, err);
}

// callable, args (and keyword arguments, which are dropped) -> what the table says about it.
static aleat_status run_call(aleat_pickle *pickle, bool keywords, aleat_error *err)
{
    const size_t extra = keywords ? 1 : 0;
    const aleat_pickle_value *args = peek(pickle, extra), *callable = peek(pickle, extra + 1);
    aleat_pickle_value made;
    if (!args || !callable || (keywords && !peek(pickle, 0)) || args->kind != ALEAT_PICKLE_TUPLE)
        return fail_stack(err);
    const aleat_status st = aleat_pickle_call(pickle, callable, args, &made, err);
    if (st)
        return st;
    pickle->stack.count -= 2 + extra;
    return push(pickle, made, err);
}

static aleat_status run_persistent(aleat_pickle *pickle, aleat_error *err)
{
    const aleat_pickle_value *id = peek(pickle, 0);
    aleat_pickle_value made;
    if (!id)
        return fail_stack(err);
    const aleat_status st = aleat_pickle_persistent(pickle, id, &made, err);
    if (st)
        return st;
    pickle->stack.count--;
    return push(pickle, made, err);
}

static aleat_status run_float(aleat_pickle *pickle, aleat_error *err)
{
    const unsigned char *bytes = take(pickle, 8);
    if (!bytes)
        return fail_end(err);
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) // big-endian, unlike all else
        bits = bits << 8 | bytes[i];
    aleat_pickle_value value = {.kind = ALEAT_PICKLE_FLOAT};
    memcpy(&value.as.real, &bits, sizeof bits);
    return push(pickle, value, err);
}

static aleat_status run_pop(aleat_pickle *pickle, bool to_mark, aleat_error *err)
{
    size_t count = 1;
    if (to_mark) {
        if (!above_mark(pickle, &count))
            return fail_stack(err);
        count++;
    }
    if (count > pickle->stack.count)
        return fail_stack(err);
    pickle->stack.count -= count;
    return ALEAT_OK;
}

static aleat_status run_dup(aleat_pickle *pickle, aleat_error *err)
{
    const aleat_pickle_value *top = peek(pickle, 0);
    return top ? push(pickle, *top, err) : fail_stack(err);
}

static aleat_status push_empty(aleat_pickle *pickle, aleat_pickle_kind kind, aleat_error *err)
{
    return collect(pickle, kind, 0, 0, err);
}

static aleat_status push_truth(aleat_pickle *pickle, bool truth, aleat_error *err)
{
    return push(pickle, (aleat_pickle_value){.kind = ALEAT_PICKLE_BOOL, .as.truth = truth}, err);
}

static aleat_status run_proto(aleat_pickle *pickle, aleat_error *err)
{
    const unsigned char *version = take(pickle, 1);
    if (!version)
        return fail_end(err);
    if (*version < 2 || *version > MAX_PROTOCOL)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "pickle protocol %d is not supported",
                          *version);
    return ALEAT_OK;
}

static aleat_status run_opcode(aleat_pickle *pickle, unsigned char op, aleat_error *err)
{
    switch (op) {
    case PROTO: return run_proto(pickle, err);
    case FRAME: return take(pickle, 8) ? ALEAT_OK : fail_end(err);
    case MARK: return push(pickle, (aleat_pickle_value){.kind = ALEAT_PICKLE_MARK}, err);
    case POP: return run_pop(pickle, false, err);
    case POP_MARK: return run_pop(pickle, true, err);
    case DUP: return run_dup(pickle, err);
    case NONE: return push(pickle, (aleat_pickle_value){.kind = ALEAT_PICKLE_NONE}, err);
    case NEWTRUE: return push_truth(pickle, true, err);
    case NEWFALSE: return push_truth(pickle, false, err);
    case BINFLOAT: return run_float(pickle, err);
    case EMPTY_TUPLE: return push_empty(pickle, ALEAT_PICKLE_TUPLE, err);
    case EMPTY_LIST:
    case EMPTY_SET: return push_empty(pickle, ALEAT_PICKLE_LIST, err);
    case EMPTY_DICT: return push_empty(pickle, ALEAT_PICKLE_DICT, err);
    case TUPLE1: return collect(pickle, ALEAT_PICKLE_TUPLE, 1, 0, err);
    case TUPLE2: return collect(pickle, ALEAT_PICKLE_TUPLE, 2, 0, err);
    case TUPLE3: return collect(pickle, ALEAT_PICKLE_TUPLE, 3, 0, err);
    case TUPLE: return collect_to_mark(pickle, ALEAT_PICKLE_TUPLE, err);
    case LIST:
    case FROZENSET: return collect_to_mark(pickle, ALEAT_PICKLE_LIST, err);
    case DICT: return collect_to_mark(pickle, ALEAT_PICKLE_DICT, err);
    case APPEND: return extend(pickle, ALEAT_PICKLE_LIST, 1, 0, err);
    case APPENDS:
    case ADDITEMS: return extend_to_mark(pickle, ALEAT_PICKLE_LIST, err);
    case SETITEM: return extend(pickle, ALEAT_PICKLE_DICT, 2, 0, err);
    case SETITEMS: return extend_to_mark(pickle, ALEAT_PICKLE_DICT, err);
    case GLOBAL: return run_global(pickle, false, err);
    case STACK_GLOBAL: return run_global(pickle, true, err);
    case REDUCE:
    case NEWOBJ: return run_call(pickle, false, err);
    case NEWOBJ_EX: return run_call(pickle, true, err);
    case BUILD: // the state of an object; those that carry tensors have none that matters
        return peek(pickle, 1) ? run_pop(pickle, false, err) : fail_stack(err);
    case BINPERSID: return run_persistent(pickle, err);
    case MEMOIZE: return put_memo(pickle, pickle->memo.count, err);
    default: break;
    }
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++)
        if (operands[i].op == op)
            return run_operand(pickle, &operands[i], err);
    return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                      "pickle opcode 0x%02x is not among those that checkpoints need", op);
}

aleat_status aleat_pickle_read(aleat_pickle *pickle, const unsigned char *data, size_t len,
                               size_t *used, aleat_pickle_value *out, aleat_error *err)
{
    pickle->at = data;
    pickle->end = data + len;
    pickle->stack.count = pickle->memo.count = 0;
    for (;;) {
        const unsigned char *op = take(pickle, 1);
        if (!op)
            return fail_end(err);
        if (*op == STOP)
            break;
        pickle->n_ops++;
        const aleat_status st = run_opcode(pickle, *op, err);
        if (st)
            return st;
    }
    const aleat_pickle_value *top = peek(pickle, 0);
    if (!top)
        return fail_stack(err);
    *out = *top;
    *used = (size_t)(pickle->at - data);
    return ALEAT_OK;
}

void aleat_pickle_clear(aleat_pickle *pickle)
{
    aleat_arena_clear(&pickle->arena);
    memset(pickle, 0, sizeof *pickle);
}

bool aleat_pickle_is_text(const aleat_pickle_value *value, const char *text)
{
    return value->kind == ALEAT_PICKLE_TEXT && value->len == strlen(text) &&
           memcmp(value->as.text, text, value->len) == 0;
}

const aleat_pickle_value *aleat_pickle_get(const aleat_pickle_value *dict, const char *key)
{
    if (dict->kind != ALEAT_PICKLE_DICT)
        return NULL;
    for (size_t i = dict->as.list->count; i >= 2; i -= 2)
        if (aleat_pickle_is_text(&dict->as.list->items[i - 2], key))
            return &dict->as.list->items[i - 1];
    return NULL;
}
