#include "models/autoencoder_kl.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "models/config.h"
#include "models/families.h"
#include "nn/blocks.h"

#define CLASS_NAME "AutoencoderKL"
#define EPS        1e-6
#define MAX_LAYERS 16

typedef struct autoencoder_config {
    int64_t in_channels, out_channels, latent_channels, layers_per_block, norm_num_groups;
    aleat_config_ints block_out_channels, sample_size;
    aleat_config_texts down_block_types, up_block_types;
    const char *act_fn;
    double scaling_factor, shift_factor;
    bool use_quant_conv, use_post_quant_conv, mid_block_add_attention;
} autoencoder_config;

// The defaults of AutoencoderKL's constructor; the lists of block types only ever repeat one.
static const autoencoder_config defaults = {
    .in_channels = 3,
    .out_channels = 3,
    .latent_channels = 4,
    .layers_per_block = 1,
    .norm_num_groups = 32,
    .block_out_channels = {1, {64}},
    .down_block_types = {1, {"DownEncoderBlock2D"}},
    .up_block_types = {1, {"UpDecoderBlock2D"}},
    .act_fn = "silu",
    .scaling_factor = 0.18215,
    .use_quant_conv = true,
    .use_post_quant_conv = true,
    .mid_block_add_attention = true,
};

#define FIELD(name) #name, .offset = offsetof(autoencoder_config, name)
static const aleat_config_key config_keys[] = {
    {FIELD(in_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(out_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(down_block_types), .kind = ALEAT_CONFIG_TEXTS, .choices = "DownEncoderBlock2D"},
    {FIELD(up_block_types), .kind = ALEAT_CONFIG_TEXTS, .choices = "UpDecoderBlock2D"},
    {FIELD(block_out_channels), .kind = ALEAT_CONFIG_INTS, .low = 1, .high = 65536},
    {FIELD(layers_per_block), .kind = ALEAT_CONFIG_INT, .low = 1, .high = MAX_LAYERS},
    {FIELD(act_fn), .kind = ALEAT_CONFIG_TEXT, .choices = "silu|swish"},
    {FIELD(latent_channels), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(norm_num_groups), .kind = ALEAT_CONFIG_INT, .low = 1, .high = 65536},
    {FIELD(sample_size), .kind = ALEAT_CONFIG_SIZE, .nullable = true, .low = 1, .high = 65536},
    {FIELD(scaling_factor), .kind = ALEAT_CONFIG_DOUBLE, .low = 1e-6, .high = 1e6},
    {FIELD(shift_factor), .kind = ALEAT_CONFIG_DOUBLE, .nullable = true, .low = -1e6, .high = 1e6},
    {FIELD(use_quant_conv), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(use_post_quant_conv), .kind = ALEAT_CONFIG_BOOL},
    {FIELD(mid_block_add_attention), .kind = ALEAT_CONFIG_BOOL},
    {.key = "force_upcast", .kind = ALEAT_CONFIG_IGNORED}, // of f16, which nothing here computes in
    {.key = "latents_mean", .kind = ALEAT_CONFIG_IGNORED}, // null, or refused in load_config()
    {.key = "latents_std", .kind = ALEAT_CONFIG_IGNORED},
    {0},
};
#undef FIELD

/* ---- names ----------------------------------------------------------------------------------- */

// How a layout calls the parts of "encoder" and "decoder".
typedef struct layout {
    const char *down, *up; // levels
    const char *block;     // residual blocks in a level
    const char *downsample, *upsample;
    const char *middle[2]; // residual blocks
    const char *attention, *norm_out;
    bool up_is_reversed; // up.0 is the level of full size, not the first one
    const aleat_resnet_names *resnet;
    const aleat_attention_names *attention_names; // NULL: diffusers', old or new
} layout;

static const layout layouts[] = {
    {
        // diffusers
        .down = "down_blocks",
        .up = "up_blocks",
        .block = "resnets",
        .downsample = "downsamplers.0.conv",
        .upsample = "upsamplers.0.conv",
        .middle = {"mid_block.resnets.0", "mid_block.resnets.1"},
        .attention = "mid_block.attentions.0",
        .norm_out = "conv_norm_out",
        .resnet = &aleat_resnet_diffusers,
    },
    {
        // CompVis
        .down = "down",
        .up = "up",
        .block = "block",
        .downsample = "downsample.conv",
        .upsample = "upsample.conv",
        .middle = {"mid.block_1", "mid.block_2"},
        .attention = "mid.attn_1",
        .norm_out = "norm_out",
        .up_is_reversed = true,
        .resnet = &aleat_resnet_compvis,
        .attention_names = &aleat_attention_compvis,
    },
};

struct aleat_autoencoder {
    autoencoder_config config; // its texts are static or of `json`
    aleat_json json;
    const layout *layout;
    const char *root; // "", "first_stage_model." or "vae."
};

static bool find_layout(aleat_autoencoder *self, aleat_weights *weights)
{
    static const char *const roots[] = {"", "first_stage_model.", "vae."};
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        for (size_t j = 0; j < sizeof roots / sizeof *roots; j++)
            if (aleat_inspect_has(weights, "%sencoder.%s.0.%s.0.conv1.weight", roots[j],
                                  layouts[i].down, layouts[i].block)) {
                self->layout = &layouts[i];
                self->root = roots[j];
                return true;
            }
    return false;
}

/* ---- configuration from tensors -------------------------------------------------------------- */

// What tensors cannot say: how latents of 16 channels are scaled. A transformer in the same file
// tells whose they are. Alone, Stable Diffusion 3's and FLUX.1's have the same names and shapes:
// FLUX.1's (ae.safetensors) until a model says otherwise. Returns whether that is assumed.
static bool infer_scaling(autoencoder_config *config, aleat_weights *weights)
{
    if (config->latent_channels != 16)
        return false;
    const bool is_sd3 =
        aleat_inspect_has(weights, "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight");
    const bool is_flux =
        aleat_inspect_has(weights, "model.diffusion_model.double_blocks.0.img_attn.qkv.weight");
    const aleat_latent_scaling latents = is_sd3 ? aleat_sd3_latents : aleat_flux_latents;
    config->scaling_factor = latents.factor;
    config->shift_factor = latents.shift;
    return !is_sd3 && !is_flux;
}

static bool infer_config(aleat_autoencoder *self, aleat_weights *weights, bool *scaling_is_assumed)
{
    autoencoder_config *config = &self->config;
    const layout *names = self->layout;
    const char *root = self->root;
    config->in_channels = aleat_inspect_dim(weights, 1, "%sencoder.conv_in.weight", root);
    config->out_channels = aleat_inspect_dim(weights, 0, "%sdecoder.conv_out.weight", root);
    config->latent_channels = aleat_inspect_dim(weights, 1, "%sdecoder.conv_in.weight", root);
    config->block_out_channels.count = 0;
    for (int i = 0; i < ALEAT_CONFIG_ITEMS; i++) {
        const int64_t c = aleat_inspect_dim(weights, 0, "%sencoder.%s.%d.%s.0.conv1.weight", root,
                                            names->down, i, names->block);
        if (!c)
            break;
        config->block_out_channels.at[config->block_out_channels.count++] = c;
    }
    config->layers_per_block = 0;
    while (config->layers_per_block < MAX_LAYERS &&
           aleat_inspect_has(weights, "%sencoder.%s.0.%s.%d.conv1.weight", root, names->down,
                             names->block, (int)config->layers_per_block))
        config->layers_per_block++;
    config->use_quant_conv = aleat_inspect_has(weights, "%squant_conv.weight", root);
    config->use_post_quant_conv = aleat_inspect_has(weights, "%spost_quant_conv.weight", root);
    config->mid_block_add_attention =
        aleat_inspect_has(weights, "%sencoder.%s.%s.bias", root, names->attention,
                          names->attention_names ? names->attention_names->norm : "group_norm");
    *scaling_is_assumed = infer_scaling(config, weights);
    return config->in_channels && config->out_channels && config->latent_channels;
}

/* ---- building -------------------------------------------------------------------------------- */

// One half being built.
typedef struct builder {
    aleat_graph *graph;
    const aleat_autoencoder *self;
    const char *half; // "encoder" or "decoder"
} builder;

static aleat_value resnet(const builder *b, aleat_value x, const char *name, int64_t c_out)
{
    const aleat_autoencoder *self = b->self;
    const aleat_resnet_spec spec = {
        .names = self->layout->resnet,
        .groups = self->config.norm_num_groups,
        .eps = EPS,
        .act = ALEAT_ACT_SILU,
        .output_scale = 1,
    };
    const aleat_name prefix = aleat_nn_name(b->graph, "%s%s.%s", self->root, b->half, name);
    return aleat_nn_resnet(b->graph, x, ALEAT_NO_VALUE, prefix.text, c_out, &spec);
}

// One head over all channels. Its weights are matrices or 1x1 kernels, whatever the names are.
static aleat_value attention(const builder *b, aleat_value x, aleat_weights *weights)
{
    const aleat_autoencoder *self = b->self;
    const aleat_name prefix =
        aleat_nn_name(b->graph, "%s%s.%s", self->root, b->half, self->layout->attention);
    aleat_attention_names names = self->layout->attention_names
                                      ? *self->layout->attention_names
                                      : *aleat_nn_attention_names(b->graph, prefix.text);
    names.weight_rank = 2;
    while (names.weight_rank < 4 &&
           aleat_inspect_dim(weights, names.weight_rank, "%s.%s.weight", prefix.text, names.q))
        names.weight_rank++;
    const aleat_attention_spec spec = {
        .names = &names,
        .heads = 1,
        .head_dim = aleat_graph_dims(b->graph, x).c,
        .groups = self->config.norm_num_groups,
        .eps = EPS,
        .output_scale = 1,
    };
    return aleat_nn_attention(b->graph, x, prefix.text, &spec);
}

static aleat_value middle(const builder *b, aleat_value x, aleat_weights *weights)
{
    const int64_t c = aleat_graph_dims(b->graph, x).c;
    x = resnet(b, x, b->self->layout->middle[0], c);
    if (b->self->config.mid_block_add_attention)
        x = attention(b, x, weights);
    return resnet(b, x, b->self->layout->middle[1], c);
}

// "<level>.<n>.<block>.<i>" for i = 0 .. count-1.
static aleat_value level(const builder *b, aleat_value x, const char *name, int n, int64_t count,
                         int64_t c)
{
    for (int i = 0; i < count; i++) {
        const aleat_name block =
            aleat_nn_name(b->graph, "%s.%d.%s.%d", name, n, b->self->layout->block, i);
        x = resnet(b, x, block.text, c);
    }
    return x;
}

static aleat_value head(const builder *b, aleat_value x, int64_t c_out)
{
    const aleat_autoencoder *self = b->self;
    const aleat_name norm =
        aleat_nn_name(b->graph, "%s%s.%s", self->root, b->half, self->layout->norm_out);
    const aleat_name conv = aleat_nn_name(b->graph, "%s%s.conv_out", self->root, b->half);
    x = aleat_nn_groupnorm(b->graph, x, norm.text, self->config.norm_num_groups, EPS,
                           ALEAT_ACT_SILU);
    return aleat_nn_conv(b->graph, x, conv.text, c_out, aleat_conv_same(3));
}

static aleat_value encode(aleat_graph *graph, const aleat_autoencoder *self, aleat_weights *weights,
                          aleat_value x)
{
    const builder b = {graph, self, "encoder"};
    const aleat_config_ints *channels = &self->config.block_out_channels;
    const int64_t moments = 2 * self->config.latent_channels;
    const aleat_name conv_in = aleat_nn_name(graph, "%sencoder.conv_in", self->root);
    const aleat_name quant = aleat_nn_name(graph, "%squant_conv", self->root);

    x = aleat_nn_conv(graph, x, conv_in.text, channels->at[0], aleat_conv_same(3));
    for (int i = 0; i < channels->count; i++) {
        const aleat_name down = aleat_nn_name(graph, "%sencoder.%s.%d.%s", self->root,
                                              self->layout->down, i, self->layout->downsample);
        x = level(&b, x, self->layout->down, i, self->config.layers_per_block, channels->at[i]);
        if (i + 1 < channels->count)
            x = aleat_nn_downsample(graph, x, down.text, channels->at[i], 0);
    }
    x = head(&b, middle(&b, x, weights), moments);
    return self->config.use_quant_conv
               ? aleat_nn_conv(graph, x, quant.text, moments, aleat_conv_same(1))
               : x;
}

static aleat_value decode(aleat_graph *graph, const aleat_autoencoder *self, aleat_weights *weights,
                          aleat_value x)
{
    const builder b = {graph, self, "decoder"};
    const autoencoder_config *config = &self->config;
    const aleat_config_ints *channels = &config->block_out_channels;
    const int levels = channels->count;
    const aleat_name conv_in = aleat_nn_name(graph, "%sdecoder.conv_in", self->root);
    const aleat_name quant = aleat_nn_name(graph, "%spost_quant_conv", self->root);

    x = aleat_op_affine(graph, x, 1 / config->scaling_factor, config->shift_factor);
    if (config->use_post_quant_conv)
        x = aleat_nn_conv(graph, x, quant.text, config->latent_channels, aleat_conv_same(1));
    x = aleat_nn_conv(graph, x, conv_in.text, channels->at[levels - 1], aleat_conv_same(3));
    x = middle(&b, x, weights);
    for (int i = 0; i < levels; i++) {
        const int n = self->layout->up_is_reversed ? levels - 1 - i : i;
        const int64_t c = channels->at[levels - 1 - i];
        const aleat_name up = aleat_nn_name(graph, "%sdecoder.%s.%d.%s", self->root,
                                            self->layout->up, n, self->layout->upsample);
        x = level(&b, x, self->layout->up, n, config->layers_per_block + 1, c);
        if (i + 1 < levels)
            x = aleat_nn_upsample(graph, x, up.text, c);
    }
    return head(&b, x, config->out_channels);
}

typedef aleat_value half_fn(aleat_graph *graph, const aleat_autoencoder *self,
                            aleat_weights *weights, aleat_value x);

static aleat_status build_half(aleat_autoencoder_network *out, const aleat_autoencoder_files *files,
                               aleat_dims dims, int64_t unit, half_fn *half, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    if (dims.h < 1 || dims.w < 1 || dims.h % unit || dims.w % unit)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "an autoencoder for %lld x %lld: both must be positive multiples of %lld",
                          (long long)dims.h, (long long)dims.w, (long long)unit);
    aleat_graph *graph = aleat_graph_new(files->weights);
    if (!graph)
        return aleat_fail_memory(err, "autoencoder");
    out->graph = graph;
    out->x = aleat_graph_input(graph, "x", dims);
    out->out = half(graph, files->self, files->weights, out->x);
    aleat_graph_output(graph, "out", out->out);
    const aleat_status st = aleat_graph_check(graph, err);
    if (st)
        aleat_autoencoder_network_clear(out);
    return st;
}

aleat_status aleat_autoencoder_encoder(aleat_autoencoder_network *out,
                                       const aleat_autoencoder_files *files, int64_t height,
                                       int64_t width, aleat_error *err)
{
    const aleat_dims dims = {height, width, files->image_channels};
    return build_half(out, files, dims, files->factor, encode, err);
}

aleat_status aleat_autoencoder_decoder(aleat_autoencoder_network *out,
                                       const aleat_autoencoder_files *files, int64_t height,
                                       int64_t width, aleat_error *err)
{
    const aleat_dims dims = {height, width, files->latent_channels};
    return build_half(out, files, dims, 1, decode, err);
}

void aleat_autoencoder_network_clear(aleat_autoencoder_network *network)
{
    if (!network)
        return;
    aleat_graph_free(network->graph);
    memset(network, 0, sizeof *network);
}

/* ---- opening --------------------------------------------------------------------------------- */

// The folder that a path stands for, and its config.json or NULL.
static aleat_status locate(const char *path, char **folder, char **config_path, aleat_error *err)
{
    const bool is_dir = aleat_is_dir(path);
    *folder = is_dir ? aleat_path_join(path, "vae") : aleat_path_folder(path);
    *config_path = *folder ? aleat_path_join(*folder, "config.json") : NULL;
    if (is_dir && *config_path && !aleat_is_file(*config_path)) { // not a pipeline
        aleat_free(*folder);
        aleat_free(*config_path);
        *folder = aleat_strdup(path);
        *config_path = *folder ? aleat_path_join(*folder, "config.json") : NULL;
    }
    if (!*folder || !*config_path)
        return aleat_fail_memory(err, path);
    if (!aleat_is_file(*config_path)) {
        aleat_free(*config_path);
        *config_path = NULL;
    }
    return ALEAT_OK;
}

static aleat_status open_weights(aleat_autoencoder_files *files, const char *path,
                                 const char *variant, aleat_error *err)
{
    char *folder = NULL;
    aleat_status st = locate(path, &folder, &files->config_path, err);
    if (!st && aleat_is_dir(path))
        st = aleat_weights_open_folder(&files->weights, folder, "diffusion_pytorch_model", variant,
                                       err);
    else if (!st)
        st = aleat_weights_open(&files->weights, path, err);
    aleat_free(folder);
    return st;
}

// Loads the configuration if it is an autoencoder's; a lone file may lie beside any other.
static aleat_status load_config(aleat_autoencoder *self, aleat_autoencoder_files *files,
                                aleat_error *err)
{
    const char *class_name = NULL;
    if (!files->config_path)
        return ALEAT_OK;
    aleat_status st = aleat_json_load(&self->json, files->config_path, err);
    if (!st)
        st = aleat_json_string(&self->json, "_class_name", &class_name, err);
    if (!st && (!class_name || strcmp(class_name, CLASS_NAME) != 0)) {
        aleat_json_clear(&self->json);
        aleat_free(files->config_path);
        files->config_path = NULL;
    }
    if (!st &&
        (aleat_json_has(&self->json, "latents_mean") || aleat_json_has(&self->json, "latents_std")))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: latents are normalised by channel ('latents_mean', 'latents_std'), "
                          "which is not supported",
                          self->json.name);
    return st;
}

static aleat_status read_config(aleat_autoencoder *self, aleat_autoencoder_files *files,
                                aleat_error *err)
{
    const char *file = aleat_weights_path(files->weights);
    self->config = defaults;
    aleat_status st = load_config(self, files, err);
    if (st)
        return st;
    if (!find_layout(self, files->weights)) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "%s: not an AutoencoderKL: it has neither encoder.down_blocks.0.resnets.0 "
                         "nor encoder.down.0.block.0",
                         file);
        aleat_hint(err, "pass the vae folder of a pipeline, or autoencoder_kl.pth");
        return ALEAT_ERR_UNSUPPORTED;
    }
    if (files->config_path)
        st = aleat_config_read(&self->config, &self->json, config_keys, err);
    else if (!infer_config(self, files->weights, &files->scaling_is_assumed))
        st = aleat_fail(err, ALEAT_ERR_FORMAT,
                        "%s: an AutoencoderKL without encoder.conv_in.weight, "
                        "decoder.conv_in.weight or decoder.conv_out.weight",
                        file);
    if (!st && !self->config.block_out_channels.count)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: 'block_out_channels' is empty", file);
    return st;
}

// A tensor of either half that nothing reads belongs to a network that this is not.
static aleat_status check_superfluous(const aleat_autoencoder *self, aleat_weights *weights,
                                      aleat_error *err)
{
    static const char *const parts[] = {"encoder.", "decoder.", "quant_conv.", "post_quant_conv."};
    const size_t root = strlen(self->root);
    for (int64_t i = 0; i < aleat_weights_count(weights); i++) {
        const aleat_weight *weight = aleat_weights_at(weights, i);
        if (weight->used || strncmp(weight->name, self->root, root) != 0)
            continue;
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
            if (!strncmp(weight->name + root, parts[p], strlen(parts[p])))
                return aleat_fail(err, ALEAT_ERR_FORMAT,
                                  "%s: tensor '%s' has no place in this autoencoder",
                                  aleat_weights_path(weights), weight->name);
    }
    return ALEAT_OK;
}

// Builds both halves once, so that missing and superfluous tensors are found at opening.
static aleat_status check_tensors(const aleat_autoencoder_files *files, aleat_error *err)
{
    aleat_autoencoder_network network;
    aleat_status st = aleat_autoencoder_encoder(&network, files, files->factor, files->factor, err);
    aleat_autoencoder_network_clear(&network);
    if (!st)
        st = aleat_autoencoder_decoder(&network, files, 1, 1, err);
    aleat_autoencoder_network_clear(&network);
    return st ? st : check_superfluous(files->self, files->weights, err);
}

// What the files tell of the configuration follows it.
static aleat_status tell_scaling(aleat_autoencoder_files *files, aleat_error *err)
{
    const autoencoder_config *config = &files->self->config;
    char *text = aleat_config_text(config, config_keys, CLASS_NAME);
    if (!text)
        return aleat_fail_memory(err, aleat_weights_path(files->weights));
    aleat_free(files->config_text);
    files->config_text = text;
    files->scaling_factor = config->scaling_factor;
    files->shift_factor = config->shift_factor;
    return ALEAT_OK;
}

aleat_status aleat_autoencoder_files_suit(aleat_autoencoder_files *files,
                                          aleat_latent_scaling latents, bool *changed,
                                          aleat_error *err)
{
    autoencoder_config *config = &files->self->config;
    const double factor = files->factor_is_given ? config->scaling_factor : latents.factor;
    *changed = files->scaling_is_assumed && latents.factor != 0 &&
               (config->scaling_factor != factor || config->shift_factor != latents.shift);
    if (!*changed)
        return ALEAT_OK;
    config->scaling_factor = factor;
    config->shift_factor = latents.shift;
    return tell_scaling(files, err);
}

aleat_status aleat_autoencoder_files_open(aleat_autoencoder_files *out, const char *path,
                                          const aleat_autoencoder_options *options,
                                          aleat_error *err)
{
    static const aleat_autoencoder_options no_options;
    memset(out, 0, sizeof *out);
    options = options ? options : &no_options;
    aleat_autoencoder_files files = {0};
    aleat_autoencoder *self = aleat_calloc(1, sizeof *self);
    if (!self)
        return aleat_fail_memory(err, path);
    files.self = self;

    aleat_status st = open_weights(&files, path, options->variant, err);
    if (!st)
        st = read_config(self, &files, err);
    if (st)
        goto done;
    if (options->scaling_factor != 0)
        self->config.scaling_factor = options->scaling_factor;
    files.image_channels = self->config.in_channels;
    files.latent_channels = self->config.latent_channels;
    files.factor = aleat_level_unit(self->config.block_out_channels.count);
    files.factor_is_given = options->scaling_factor != 0;
    st = tell_scaling(&files, err);
    st = st ? st : check_tensors(&files, err);
    if (st)
        goto done;
    *out = files;
    memset(&files, 0, sizeof files);
done:
    aleat_autoencoder_files_close(&files);
    return st;
}

void aleat_autoencoder_files_close(aleat_autoencoder_files *files)
{
    if (!files)
        return;
    aleat_autoencoder *self = files->self;
    if (self)
        aleat_json_clear(&self->json);
    aleat_free(self);
    aleat_weights_free(files->weights);
    aleat_free(files->config_path);
    aleat_free(files->config_text);
    memset(files, 0, sizeof *files);
}
