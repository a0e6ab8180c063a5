#include "paper/published.h"

#include <math.h>
#include <string.h>

// How the files of a model are known: no two of these families have them in common.
static const struct {
    const char *family;
    int64_t channels, height, classes;
    int dpm; // -1: the paper has one row, whatever the sampler
    aleat_published numbers;
} models[] = {
    {"adm",
     3,
     64,
     1000,
     -1,
     {.model = "ADM, ImageNet 64",
      .fid_random = 3.289,
      .fid_kept = 3.254,
      .fid_bayesdiff = NAN,
      .fid_dropout = 3.268,
      .ause = 74.48,
      .aurg = 5.05,
      .dropout_ause = 84.94,
      .dropout_aurg = -4.85,
      .fid_plain = 24.16,
      .fid_guided = 23.21,
      .precision_random = .999,
      .precision_kept = .999,
      .recall_random = .004,
      .recall_kept = .005,
      .plain_5 = 40.753,
      .scored_5 = 52.387,
      .plain_20 = 41.013,
      .scored_20 = 89.316}},
    {"adm",
     3,
     128,
     1000,
     0,
     {.model = "ADM, ImageNet 128",
      .fid_random = 8.21,
      .fid_kept = 7.88,
      .fid_bayesdiff = 8.45,
      .fid_dropout = NAN,
      .ause = NAN,
      .aurg = NAN,
      .dropout_ause = NAN,
      .dropout_aurg = NAN,
      .fid_plain = 45.10,
      .fid_guided = 44.02,
      .precision_random = .951,
      .precision_kept = .951,
      .recall_random = .371,
      .recall_kept = .380,
      .plain_5 = 86.805,
      .scored_5 = 112.777,
      .plain_20 = 86.768,
      .scored_20 = 190.939}},
    {"adm",
     3,
     128,
     1000,
     1,
     {.model = "ADM with DPM-Solver, ImageNet 128",
      .fid_random = 8.50,
      .fid_kept = 8.48,
      .fid_bayesdiff = 9.67,
      .fid_dropout = NAN,
      .ause = NAN,
      .aurg = NAN,
      .dropout_ause = NAN,
      .dropout_aurg = NAN,
      .fid_plain = NAN,
      .fid_guided = NAN,
      .precision_random = .874,
      .precision_kept = .872,
      .recall_random = .524,
      .recall_kept = .540,
      .plain_5 = 86.712,
      .scored_5 = 112.765,
      .plain_20 = 86.750,
      .scored_20 = 190.871}},
    {"uvit",
     4,
     32,
     1001,
     -1,
     {.model = "U-ViT, ImageNet 256",
      .fid_random = 7.88,
      .fid_kept = 7.80,
      .fid_bayesdiff = 6.81,
      .fid_dropout = NAN,
      .ause = NAN,
      .aurg = NAN,
      .dropout_ause = NAN,
      .dropout_aurg = NAN,
      .fid_plain = 51.45,
      .fid_guided = 50.34,
      .precision_random = .325,
      .precision_kept = .339,
      .recall_random = .762,
      .recall_kept = .856,
      .plain_5 = 26.272,
      .scored_5 = 37.058,
      .plain_20 = 43.987,
      .scored_20 = 60.550}},
    {"uvit",
     4,
     64,
     1001,
     -1,
     {.model = "U-ViT, ImageNet 512",
      .fid_random = 16.47,
      .fid_kept = 16.37,
      .fid_bayesdiff = 16.87,
      .fid_dropout = NAN,
      .ause = NAN,
      .aurg = NAN,
      .dropout_ause = NAN,
      .dropout_aurg = NAN,
      .fid_plain = 60.72,
      .fid_guided = 59.81,
      .precision_random = .791,
      .precision_kept = .793,
      .recall_random = .431,
      .recall_kept = .451,
      .plain_5 = 32.859,
      .scored_5 = 47.531,
      .plain_20 = 53.189,
      .scored_20 = 74.420}},
    {"unet2d",
     3,
     32,
     0,
     -1,
     {.model = "DDPM, CIFAR-10",
      .fid_random = 13.494,
      .fid_kept = 13.416,
      .fid_bayesdiff = NAN,
      .fid_dropout = 13.435,
      .ause = .01,
      .aurg = 18.48,
      .dropout_ause = 1.27,
      .dropout_aurg = 16.19,
      .fid_plain = 27.39,
      .fid_guided = 26.45,
      .precision_random = .685,
      .precision_kept = .685,
      .recall_random = 0,
      .recall_kept = 0,
      .plain_5 = 2.661,
      .scored_5 = 3.671,
      .plain_20 = 2.726,
      .scored_20 = 6.302}},
};

// google/ddpm-cifar10-32; other networks of such images are not the paper's.
#define CIFAR_PARAMETERS 35746307

const aleat_published *aleat_published_of(const aleat_model *model, bool dpm)
{
    const aleat_model_facts f = aleat_model_describe(model);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (!strcmp(models[i].family, f.family) && models[i].channels == f.channels &&
            models[i].height == f.height && models[i].classes == f.n_classes &&
            (models[i].dpm < 0 || models[i].dpm == dpm) &&
            (strcmp(f.family, "unet2d") != 0 || f.n_parameters == CIFAR_PARAMETERS))
            return &models[i].numbers;
    return NULL;
}

double aleat_published_fid(const aleat_published *published, const char *score)
{
    const struct {
        const char *score;
        double fid;
    } of[] = {{"eps-var", published->fid_kept},
              {"bayes-var", published->fid_bayesdiff},
              {"dropout-var", published->fid_dropout}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (strcmp(of[i].score, score) == 0)
            return of[i].fid;
    return NAN;
}
