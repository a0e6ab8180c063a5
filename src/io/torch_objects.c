/* What the names in a checkpoint's pickle stand for. The list is closed: see pickle.h. */
#include <string.h>

#include "base/error.h"
#include "io/pickle.h"

// What is made of a call of a listed name.
typedef enum role {
    STORAGE_TYPE,   // torch.FloatStorage: not called; gives persistent ids their dtype
    REBUILD_TENSOR, // (storage, offset, shape, stride, ...)
    FIRST_ARGUMENT, // wrappers: parameter, size, tuple
    DICT_TYPE,      // dict(list of pairs)
    DEFAULT_DICT,   // the same after one argument
    INERT           // an object that holds no tensors
} role;

static const struct {
    const char *module, *name;
    role role;
    aleat_dtype dtype; // of a STORAGE_TYPE
} globals[] = {
    {"torch", "FloatStorage", STORAGE_TYPE, ALEAT_F32},
    {"torch", "DoubleStorage", STORAGE_TYPE, ALEAT_F64},
    {"torch", "HalfStorage", STORAGE_TYPE, ALEAT_F16},
    {"torch", "BFloat16Storage", STORAGE_TYPE, ALEAT_BF16},
    {"torch", "ByteStorage", STORAGE_TYPE, ALEAT_U8},
    {"torch", "CharStorage", STORAGE_TYPE, ALEAT_I8},
    {"torch", "ShortStorage", STORAGE_TYPE, ALEAT_I16},
    {"torch", "IntStorage", STORAGE_TYPE, ALEAT_I32},
    {"torch", "LongStorage", STORAGE_TYPE, ALEAT_I64},
    {"torch", "BoolStorage", STORAGE_TYPE, ALEAT_BOOL},
    {"torch._utils", "_rebuild_tensor", REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", FIRST_ARGUMENT, 0},
    {"torch._utils", "_rebuild_parameter_with_state", FIRST_ARGUMENT, 0},
    {"torch", "Size", FIRST_ARGUMENT, 0},
    {"collections", "OrderedDict", DICT_TYPE, 0},
    {"collections", "Counter", DICT_TYPE, 0},
    {"collections", "defaultdict", DEFAULT_DICT, 0},
    {"builtins", "dict", DICT_TYPE, 0},
    {"__builtin__", "dict", DICT_TYPE, 0},
    {"builtins", "set", INERT, 0},
    {"__builtin__", "set", INERT, 0},
    {"builtins", "frozenset", INERT, 0},
    {"__builtin__", "frozenset", INERT, 0},
    {"builtins", "list", INERT, 0},
    {"__builtin__", "list", INERT, 0},
    {"builtins", "int", INERT, 0},
    {"__builtin__", "int", INERT, 0},
    {"builtins", "bytearray", INERT, 0},
    {"builtins", "complex", INERT, 0},
    {"__builtin__", "complex", INERT, 0},
    {"_codecs", "encode", INERT, 0},
    {"argparse", "Namespace", INERT, 0},
    {"torch", "device", INERT, 0},
    {"torch", "float32", INERT, 0},
    {"torch", "float64", INERT, 0},
    {"torch", "float16", INERT, 0},
    {"torch", "bfloat16", INERT, 0},
    {"torch", "uint8", INERT, 0},
    {"torch", "int8", INERT, 0},
    {"torch", "int16", INERT, 0},
    {"torch", "int32", INERT, 0},
    {"torch", "int64", INERT, 0},
    {"torch", "bool", INERT, 0},
    {"numpy", "dtype", INERT, 0},
    {"numpy", "ndarray", INERT, 0},
    {"numpy.core.multiarray", "scalar", INERT, 0},
    {"numpy.core.multiarray", "_reconstruct", INERT, 0},
    {"numpy._core.multiarray", "scalar", INERT, 0},
    {"numpy._core.multiarray", "_reconstruct", INERT, 0},
    // The published Stable Diffusion 1.x checkpoints carry the state of their training.
    {"pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", INERT, 0},
};

aleat_status aleat_pickle_global(const aleat_pickle_value *module, const aleat_pickle_value *name,
                                 aleat_pickle_value *out, aleat_error *err)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (aleat_pickle_is_text(module, globals[i].module) &&
            aleat_pickle_is_text(name, globals[i].name)) {
            *out = (aleat_pickle_value){.kind = ALEAT_PICKLE_GLOBAL, .len = (uint32_t)i};
            return ALEAT_OK;
        }
    const aleat_status st =
        aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "pickle refers to '%.*s.%.*s', which is not data",
                   (int)(module->len < 200 ? module->len : 200), module->as.text,
                   (int)(name->len < 200 ? name->len : 200), name->as.text);
    aleat_hint(err, "save the model's state_dict(), or convert the file to safetensors");
    return st;
}

static aleat_status fail_tensor(aleat_error *err)
{
    return aleat_fail(err, ALEAT_ERR_FORMAT, "pickle is damaged: arguments of a tensor");
}

// A tuple of whole numbers >= 0.
static bool read_numbers(const aleat_pickle_value *tuple, int64_t values[ALEAT_MAX_DIMS],
                         int *count)
{
    if (tuple->kind != ALEAT_PICKLE_TUPLE || tuple->as.list->count > ALEAT_MAX_DIMS)
        return false;
    *count = (int)tuple->as.list->count;
    for (int i = 0; i < *count; i++) {
        const aleat_pickle_value *item = &tuple->as.list->items[i];
        if (item->kind != ALEAT_PICKLE_INT || item->as.integer < 0)
            return false;
        values[i] = item->as.integer;
    }
    return true;
}

static aleat_status rebuild_tensor(aleat_pickle *pickle, const aleat_pickle_list *args,
                                   aleat_pickle_value *out, aleat_error *err)
{
    const aleat_pickle_value *arg = args->items;
    int n_strides = 0;
    if (args->count < 4 || arg[0].kind != ALEAT_PICKLE_STORAGE || arg[1].kind != ALEAT_PICKLE_INT ||
        arg[1].as.integer < 0)
        return fail_tensor(err);
    aleat_pickle_tensor *tensor = aleat_arena_alloc(&pickle->arena, sizeof *tensor);
    if (!tensor)
        return aleat_pickle_fail_memory(pickle, err);
    *tensor = (aleat_pickle_tensor){.storage = arg[0].as.storage, .offset = arg[1].as.integer};
    if (!read_numbers(&arg[2], tensor->shape.dim, &tensor->shape.n_dims) ||
        !read_numbers(&arg[3], tensor->stride, &n_strides) || n_strides != tensor->shape.n_dims)
        return fail_tensor(err);
    *out = (aleat_pickle_value){.kind = ALEAT_PICKLE_TENSOR, .as.tensor = tensor};
    return ALEAT_OK;
}

// dict() or dict([(key, value), ...]), behind `skip` other arguments.
static aleat_status make_dict(aleat_pickle *pickle, const aleat_pickle_list *args, size_t skip,
                              aleat_pickle_value *out, aleat_error *err)
{
    aleat_status st = aleat_pickle_new_list(pickle, ALEAT_PICKLE_DICT, out, err);
    if (st || args->count <= skip)
        return st;
    const aleat_pickle_value *from = &args->items[skip];
    if (from->kind == ALEAT_PICKLE_DICT)
        return aleat_pickle_append(pickle, out->as.list, from->as.list->items, from->as.list->count,
                                   err);
    const bool is_list = from->kind == ALEAT_PICKLE_LIST || from->kind == ALEAT_PICKLE_TUPLE;
    for (size_t i = 0; is_list && i < from->as.list->count && !st; i++) {
        const aleat_pickle_value *pair = &from->as.list->items[i];
        if ((pair->kind != ALEAT_PICKLE_LIST && pair->kind != ALEAT_PICKLE_TUPLE) ||
            pair->as.list->count != 2)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "pickle is damaged: pairs of a dict");
        st = aleat_pickle_append(pickle, out->as.list, pair->as.list->items, 2, err);
    }
    return st;
}

aleat_status aleat_pickle_call(aleat_pickle *pickle, const aleat_pickle_value *callable,
                               const aleat_pickle_value *args, aleat_pickle_value *out,
                               aleat_error *err)
{
    *out = (aleat_pickle_value){.kind = ALEAT_PICKLE_OPAQUE};
    if (callable->kind == ALEAT_PICKLE_OPAQUE)
        return ALEAT_OK;
    if (callable->kind != ALEAT_PICKLE_GLOBAL)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "pickle is damaged: calls what is no function");
    const aleat_pickle_list *list = args->as.list;
    switch (globals[callable->len].role) {
    case REBUILD_TENSOR: return rebuild_tensor(pickle, list, out, err);
    case DICT_TYPE: return make_dict(pickle, list, 0, out, err);
    case DEFAULT_DICT: return make_dict(pickle, list, 1, out, err);
    case FIRST_ARGUMENT:
        if (list->count == 0)
            return fail_tensor(err);
        *out = list->items[0];
        return ALEAT_OK;
    case STORAGE_TYPE:
    case INERT: break;
    }
    return ALEAT_OK;
}

// The view of an old file's storage: None, or (key, first element, elements).
static bool read_view(const aleat_pickle_value *view, aleat_pickle_storage *storage)
{
    if (view->kind == ALEAT_PICKLE_NONE)
        return true;
    if (view->kind != ALEAT_PICKLE_TUPLE || view->as.list->count != 3)
        return false;
    const aleat_pickle_value *begin = &view->as.list->items[1], *count = begin + 1;
    if (begin->kind != ALEAT_PICKLE_INT || count->kind != ALEAT_PICKLE_INT)
        return false;
    storage->view_begin = begin->as.integer;
    storage->view_count = count->as.integer;
    return storage->view_begin >= 0 && storage->view_begin <= storage->count &&
           storage->view_count >= 0 && storage->view_count <= storage->count - storage->view_begin;
}

// id: ('storage', type, key, device, elements) and, in files before PyTorch 1.6, a view.
aleat_status aleat_pickle_persistent(aleat_pickle *pickle, const aleat_pickle_value *id,
                                     aleat_pickle_value *out, aleat_error *err)
{
    if (id->kind != ALEAT_PICKLE_TUPLE || id->as.list->count < 5 ||
        !aleat_pickle_is_text(&id->as.list->items[0], "storage"))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "pickle has a persistent id that is not a storage");
    const aleat_pickle_value *type = &id->as.list->items[1], *key = type + 1, *count = type + 3;
    if (type->kind != ALEAT_PICKLE_GLOBAL || globals[type->len].role != STORAGE_TYPE ||
        key->kind != ALEAT_PICKLE_TEXT || count->kind != ALEAT_PICKLE_INT || count->as.integer < 0)
        return fail_tensor(err);
    aleat_pickle_storage *storage = aleat_arena_alloc(&pickle->arena, sizeof *storage);
    if (!storage)
        return aleat_pickle_fail_memory(pickle, err);
    *storage = (aleat_pickle_storage){.next = pickle->storages,
                                      .dtype = globals[type->len].dtype,
                                      .key = key->as.text,
                                      .key_len = key->len,
                                      .count = count->as.integer,
                                      .view_count = count->as.integer};
    if (id->as.list->count > 5 && !read_view(&id->as.list->items[5], storage))
        return fail_tensor(err);
    pickle->storages = storage;
    *out = (aleat_pickle_value){.kind = ALEAT_PICKLE_STORAGE, .as.storage = storage};
    return ALEAT_OK;
}
