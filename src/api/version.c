#include "aleat/aleat.h"

const char *aleat_version(void)
{
    return ALEAT_VERSION; // from meson.build
}
