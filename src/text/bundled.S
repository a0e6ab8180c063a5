/* Vocabularies for checkpoints that bring none (data/ORIGIN.md). */
    .section .rodata
    .macro bundle name, file
    .global \name
    .hidden \name
    .global \name\()_end
    .hidden \name\()_end
    .balign 64
\name:
    .incbin "\file"
\name\()_end:
    .byte 0
    .endm

    bundle aleat_bundled_clip_merges, ALEAT_CLIP_MERGES
    bundle aleat_bundled_t5_spiece, ALEAT_T5_SPIECE

    .section .note.GNU-stack, "", %progbits
