/* What each verb is called, does and takes. */
#include "cli/options.h"

#include <string.h>

#define MODEL_OPERAND                                                                              \
    .operand = "MODEL", .operand_help = "a diffusers folder, a network's folder or a weight file"

const aleat_cli_verb aleat_cli_verbs[] = {
    {.name = "generate",
     MODEL_OPERAND,
     .run = aleat_cli_generate,
     .groups = {&aleat_cli_images_options, &aleat_cli_prompting, &aleat_cli_encoder_options,
                &aleat_cli_sampling_options, &aleat_cli_scoring_options, &aleat_cli_guiding_options,
                &aleat_cli_classifying_options, &aleat_cli_latent_options, &aleat_cli_model_options,
                &aleat_cli_unsaid_options, &aleat_cli_general_options},
     .summary = "sample images into a folder, with maps of uncertainty",
     .notes = "An interrupted run goes on when the same command is given again. RUN/contact.png "
              "shows the images by rising uncertainty; RUN/run.json tells every setting."},
    {.name = "replay",
     .operand = "IMAGE.png",
     .operand_help = "a picture of 'aleat generate', or one with the settings of A1111's web UI, "
                     "stable-diffusion.cpp or ComfyUI",
     .run = aleat_cli_replay,
     .groups = {&aleat_cli_replaying, &aleat_cli_encoder_options, &aleat_cli_classifying_options,
                &aleat_cli_replay_model_options, &aleat_cli_unsaid_options,
                &aleat_cli_general_options},
     .summary = "an image again from the settings in its file, and whether it is the same",
     .notes =
         "Returns 0 if every pixel is the same, 1 if not. Without --model the model is the one "
         "that run.json beside the picture's folder tells of. Of other programs' pictures the "
         "remarks say what was assumed or not followed."},
    {.name = "report",
     .operand = "RUN",
     .operand_help = "the folder that 'aleat generate' wrote",
     .run = aleat_cli_write_report,
     .groups = {&aleat_cli_page_options, &aleat_cli_general_options},
     .summary = "one HTML page to look at a run: images, maps, scores, curves",
     .notes = "The page needs no network and no server: open it in a browser. Values under the "
              "pointer are those of the .npy files wherever the page has room for them; of runs "
              "made with --maps all --keep-x0 it shows every step."},
    {.name = "uncertainty",
     MODEL_OPERAND,
     .run = aleat_cli_uncertainty,
     .groups = {&aleat_cli_at_state_options, &aleat_cli_judging, &aleat_cli_judge_sampling,
                &aleat_cli_encoding, &aleat_cli_estimate_options, &aleat_cli_model_options,
                &aleat_cli_unsaid_options, &aleat_cli_general_options},
     .summary = "uncertainty at given noisy images, or of any image",
     .notes = "Algorithm 1 of arXiv 2412.00205: the x0 predicted at X is noised again M times, and "
              "the noise predictions of the copies are compared. G is d sum(U) / d eps, with the "
              "copies' noise held.\n"
              "With --image X -o RUN any images are judged: noised to the scored steps, looked at "
              "there, the maps averaged over R draws of that noise. Scores go to stdout and to "
              "RUN/scores.csv; x0-error is the squared error of the x0 predicted at the noised "
              "image. Without --label the class that means none is taken; --label data: those of "
              "the set."},
    {.name = "corruptions",
     .operand = "MODEL DATA",
     .operand_help = "a model, and images: as of 'aleat reconstruct'",
     .several = true,
     .run = aleat_cli_corruptions,
     .groups = {&aleat_cli_damaging, &aleat_cli_reconstruct_sampling, &aleat_cli_encoding,
                &aleat_cli_model_options, &aleat_cli_unsaid_options, &aleat_cli_general_options},
     .summary = "how well scores tell damaged images from whole ones",
     .notes = "Each image is judged, as by 'aleat uncertainty --image', whole and with every kind "
              "of damage. Told is the area under the ROC curve of each score, the sum of its map, "
              "for both signs; intervals are by bootstrap over images. RUN/corruptions.csv and "
              ".json hold the same; an interrupted command goes on when it is given again."},
    {.name = "reconstruct",
     .operand = "MODEL DATA",
     .operand_help = "a model, and images: IDX, CIFAR-10's binary version, .npz, .npy, a folder of "
                     "pictures, a run; of a data set its test part if it has one",
     .several = true,
     .run = aleat_cli_reconstruct,
     .groups = {&aleat_cli_reconstructing, &aleat_cli_reconstruct_sampling, &aleat_cli_encoding,
                &aleat_cli_model_options, &aleat_cli_unsaid_options, &aleat_cli_general_options},
     .summary = "noise real images halfway, denoise them, and hold the maps against the errors",
     .notes = "RUN is a run whose images are the reconstructions, with original.npy, "
              "reconstruction.npy and error.npy on [-1, 1] beside its maps, which are summed over "
              "all executed steps: 'aleat eval ause --uncertainty RUN/x0-var.npy --error "
              "RUN/error.npy' reads them. Both signs of every map are told: '+' removes what the "
              "map calls high first, '-' what it calls low. An interrupted run goes on when the "
              "same command is given again."},
    {.name = "laplace",
     .operand = "MODEL DATA",
     .operand_help = "a model of pixels, and a data set as 'aleat train' takes it",
     .several = true,
     .run = aleat_cli_laplace,
     .groups = {&aleat_cli_fitting_options, &aleat_cli_model_options, &aleat_cli_unsaid_options,
                &aleat_cli_general_options},
     .summary = "a posterior over the weights of a model's last layer, from data",
     .notes = "What --estimator bayesdiff needs. A diagonal Laplace approximation in one pass: for "
              "each image one noise at one time, and the squared gradient of the squared error."},
    {.name = "threshold",
     .operand = "RUN...",
     .operand_help = "a folder of 'aleat generate --maps all'; more may follow",
     .several = true,
     .run = aleat_cli_threshold,
     .groups = {&aleat_cli_threshold_options, &aleat_cli_general_options},
     .summary = "thresholds of guidance from the maps of many images",
     .notes = "For each scored step, channel and pixel the quantile over the images of all runs, "
              "which must be alike in everything that the maps depend on and unguided. Make them "
              "with --maps all --score-steps 0:STEPS."},
    {.name = "schedule",
     .operand = "MODEL|FILE",
     .operand_help = "a model, or a scheduler_config.json",
     .run = aleat_cli_schedule,
     .groups = {&aleat_cli_sampling_options, &aleat_cli_model_options, &aleat_cli_unsaid_options,
                &aleat_cli_general_options},
     .summary = "the steps of a sampler: noise levels and coefficients"},
    {.name = "score",
     MODEL_OPERAND,
     .run = aleat_cli_score,
     .groups = {&aleat_cli_score_options, &aleat_cli_model_options, &aleat_cli_unsaid_options,
                &aleat_cli_general_options},
     .summary = "one evaluation of the network: arrays in, arrays out"},
    {.name = "filter",
     .operand = "RUN",
     .operand_help = "the folder of a finished run",
     .run = aleat_cli_filter,
     .groups = {&aleat_cli_filtering, &aleat_cli_general_options},
     .summary = "keep some images of a run: by a score, at random, or by a list",
     .notes = "Low or high may mean unsure: of eps-var low scores do, of x0-var and post-var high "
              "ones. Images keep their numbers; the new run.json says what they were chosen by."},
    {.name = "eval",
     .operand = "METRIC",
     .operand_help = "what to compute",
     .operands = aleat_cli_metric_choice,
     .run = aleat_cli_eval,
     .groups = {&aleat_cli_eval_sets, &aleat_cli_eval_pairs, &aleat_cli_eval_how,
                &aleat_cli_general_options},
     .summary = "judge sets of features, or maps of uncertainty: arrays in, numbers out",
     .notes = "Each number stands on a line of stdout, with its interval if --bootstrap asks for "
              "one; remarks on numbers that too few images give go to stderr."},
    {.name = "paper",
     .operand = "ITEM MODEL",
     .operand_help = "a table or figure of arXiv 2412.00205, then a model; items",
     .operands = aleat_cli_paper_choice,
     .several = true,
     .run = aleat_cli_paper,
     .groups = {&aleat_cli_paper_what, &aleat_cli_paper_pool, &aleat_cli_paper_methods,
                &aleat_cli_paper_judging, &aleat_cli_model_options, &aleat_cli_unsaid_options,
                &aleat_cli_general_options},
     .summary = "a table or figure of the paper on this model, from nothing",
     .notes =
         "OUT/ITEM.md, .json, .csv and a plot; the table goes to stdout, too. Interrupted, the "
         "same command goes on and ends in the same numbers. With a larger -n it goes on from "
         "the images that are there. Items other than table5 need --data and --network.\n"
         "'aleat paper summary OUT..' makes one document of what is in such folders: sentences that "
         "follow from the numbers, the most telling rows, figures. It goes to -o FILE, or to "
         "OUT/summary.md of the first folder and to stdout."},
    {.name = "train",
     .operand = "DATA",
     .operand_help = "a data set: IDX, CIFAR-10's binary version, .npz, or a folder of pictures",
     .run = aleat_cli_train,
     .groups = {&aleat_cli_learning_options, &aleat_cli_optimising_options,
                &aleat_cli_watching_options, &aleat_cli_general_options},
     .summary = "a model from a data set",
     .notes = "OUT/model is a diffusers folder, ready to sample from at every checkpoint. An "
              "interrupted training goes on when the same command is given again, to the same "
              "weights, bit for bit. --steps and --cooldown may change until the cooldown begins. "
              "OUT/loss.png shows how it goes, OUT/samples what it can do."},
    {.name = "features",
     .operand = "NETWORK",
     .operand_help = "pytorch-fid's Inception-v3 (.pth), a CIFAR ResNet (.th), or a classifier's "
                     "folder",
     .run = aleat_cli_features,
     .groups = {&aleat_cli_features_options, &aleat_cli_general_options},
     .summary = "features and logits of images, for distances and scores",
     .notes = "With labels in the set, the share of images whose largest logit is that of their "
              "label is told."},
    {.name = "decode",
     .run = aleat_cli_decode,
     .groups = {&aleat_cli_decode_options, &aleat_cli_vae_options, &aleat_cli_vae_run_options,
                &aleat_cli_general_options},
     .summary = "images of latents: arrays in, arrays out"},
    {.name = "encode",
     .run = aleat_cli_encode,
     .groups = {&aleat_cli_encode_options, &aleat_cli_vae_options, &aleat_cli_vae_run_options,
                &aleat_cli_general_options},
     .summary = "latents of images: arrays in, arrays out"},
    {.name = "encode-text",
     MODEL_OPERAND,
     .run = aleat_cli_encode_text,
     .groups = {&aleat_cli_prompts_options, &aleat_cli_encoded_options,
                &aleat_cli_text_model_options, &aleat_cli_general_options},
     .summary = "prompts through a text encoder: text in, arrays out",
     .notes = "Encoders are numbered as in diffusers folders: text_encoder, text_encoder_2, "
              "text_encoder_3. A Stable Diffusion 3 file has CLIP-L, OpenCLIP-G and T5. Longer "
              "prompts are cut with a warning."},
    {.name = "tokenize",
     .operand = "MODEL|TOKENIZER",
     .operand_help = "a model, a tokenizer's file or folder, or clip or t5 for the built-in ones",
     .run = aleat_cli_tokenize,
     .groups = {&aleat_cli_tokenizing_options, &aleat_cli_general_options},
     .summary = "the tokens of a text"},
    {.name = "info",
     MODEL_OPERAND,
     .run = aleat_cli_info,
     .groups = {&aleat_cli_info_options, &aleat_cli_model_options, &aleat_cli_unsaid_options,
                &aleat_cli_general_options},
     .summary = "what a checkpoint is: family, configuration, tensors, operations"},
    {.name = "bench",
     MODEL_OPERAND,
     .run = aleat_cli_bench,
     .groups = {&aleat_cli_bench_options, &aleat_cli_encoder_options, &aleat_cli_model_options,
                &aleat_cli_unsaid_options, &aleat_cli_general_options},
     .summary = "how fast the network is on this machine",
     .notes = "Seconds are those of one evaluation of the batch; operations are those of the "
              "forward evaluation as written, whatever algorithm computes them. --guide times the "
              "evaluation of the state and its copies, and the same with the copies' gradient. "
              "Processor seconds are those of all threads together. --part all says what an image "
              "of a text-to-image model takes: text encoders, which read their weights anew each "
              "time as a run does, --evaluations of the network, and the decoder."},
    {0},
};

const aleat_cli_verb *aleat_cli_find_verb(const char *name)
{
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}
