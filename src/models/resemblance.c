#include "models/resemblance.h"

#include <fnmatch.h>
#include <string.h>

#define MAX_PATTERNS 12
// Tensors that must fit before anything is said.
#define LEAST_SHARE 0.25

// One line a kind, also such as are not supported: shell patterns of tensor names.
static const struct {
    const char *kind;
    const char *patterns[MAX_PATTERNS];
} kinds[] = {
    {"U-Net of diffusers (unet2d)",
     {"conv_in.*", "time_embedding.linear_*", "down_blocks.*.resnets.*", "mid_block.*",
      "up_blocks.*.resnets.*", "conv_norm_out.*", "conv_out.*", "down_blocks.*", "up_blocks.*"}},
    {"text-to-image U-Net of diffusers (UNet2DConditionModel)",
     {"conv_in.*", "time_embedding.linear_*", "down_blocks.*.transformer_blocks.*.attn2.*",
      "mid_block.*", "up_blocks.*.transformer_blocks.*", "conv_out.*", "down_blocks.*",
      "up_blocks.*", "conv_norm_out.*"}},
    {"U-Net of guided-diffusion (adm)",
     {"time_embed.*", "input_blocks.*", "middle_block.*", "output_blocks.*", "out.0.*", "out.2.*"}},
    {"classifier of guided-diffusion (adm_classifier)",
     {"time_embed.*", "input_blocks.*", "middle_block.*", "out.0.*", "out.2.qkv_proj.*",
      "out.2.c_proj.*", "out.2.positional_embedding"}},
    {"U-ViT (uvit)",
     {"pos_embed", "patch_embed.proj.*", "in_blocks.*", "mid_block.*", "out_blocks.*",
      "decoder_pred.*", "norm.*"}},
    {"autoencoder of latent diffusion (AutoencoderKL)",
     {"encoder.*", "decoder.*", "quant_conv.*", "post_quant_conv.*"}},
    {"original Stable Diffusion checkpoint",
     {"model.diffusion_model.*", "first_stage_model.*", "cond_stage_model.*"}},
    {"text encoder of CLIP",
     {"text_model.embeddings.*", "text_model.encoder.layers.*", "text_model.final_layer_norm.*"}},
    {"text encoder T5", {"shared.weight", "encoder.block.*", "encoder.final_layer_norm.*"}},
    {"DiT or MMDiT of diffusers",
     {"pos_embed.proj.*", "time_text_embed.*", "context_embedder.*", "transformer_blocks.*",
      "norm_out.*", "proj_out.*"}},
    {"Inception v3", {"Conv2d_*", "Mixed_*", "fc.*"}},
    {"ResNet", {"conv1.weight", "bn1.*", "layer?.*.conv?.weight", "layer?.*.bn?.*", "layer?.*"}},
    {"vision transformer", {"cls_token", "pos_embed", "patch_embed.proj.*", "blocks.*", "norm.*"}},
};
#define N_KINDS ((int)(sizeof kinds / sizeof *kinds))

static int pattern_of(int kind, const char *name)
{
    for (int p = 0; p < MAX_PATTERNS && kinds[kind].patterns[p]; p++)
        if (fnmatch(kinds[kind].patterns[p], name, 0) == 0)
            return p;
    return -1;
}

// Bytes of the prefix, "module." or the like, that all names have; 0: none.
static size_t common_prefix(aleat_weights *weights)
{
    const int64_t n = aleat_weights_count(weights);
    const char *first = n > 0 ? aleat_weights_at(weights, 0)->name : "";
    const char *dot = strchr(first, '.');
    const size_t length = dot ? (size_t)(dot - first) + 1 : 0;
    for (int64_t i = 1; i < n; i++)
        if (strncmp(aleat_weights_at(weights, i)->name, first, length) != 0)
            return 0;
    return n > 1 ? length : 0;
}

// Tensors that fit, as a share; *coverage is the share of the patterns that are matched.
static double share_of(aleat_weights *weights, int kind, size_t prefix, double *coverage)
{
    bool seen[MAX_PATTERNS] = {false};
    int64_t fit = 0, n = aleat_weights_count(weights);
    int patterns = 0, matched = 0;
    for (int64_t i = 0; i < n; i++) {
        const int p = pattern_of(kind, aleat_weights_at(weights, i)->name + prefix);
        fit += p >= 0;
        if (p >= 0)
            seen[p] = true;
    }
    for (; patterns < MAX_PATTERNS && kinds[kind].patterns[patterns]; patterns++)
        matched += seen[patterns];
    *coverage = (double)matched / patterns;
    return n > 0 ? (double)fit / (double)n : 0;
}

aleat_resemblance aleat_weights_resemble(aleat_weights *weights)
{
    aleat_resemblance best = {0};
    double most = 0;
    const size_t prefixes[] = {0, common_prefix(weights)};
    for (int k = 0; k < N_KINDS; k++)
        for (int p = 0; p < (prefixes[1] ? 2 : 1); p++) {
            double coverage;
            const double share = share_of(weights, k, prefixes[p], &coverage);
            if (share >= LEAST_SHARE && share * coverage > most) {
                most = share * coverage;
                best = (aleat_resemblance){kinds[k].kind, share};
            }
        }
    return best;
}
