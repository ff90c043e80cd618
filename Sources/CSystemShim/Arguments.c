#include "CSystemShim.h"

#include <stddef.h>

static int argument_count;
static char **argument_words;

// The C library hands every constructor what main gets; nothing has to be read from /proc, which may not be there.
__attribute__((constructor)) static void remember_arguments(int count, char **words, char **environment) {
    (void)environment;
    argument_count = count;
    argument_words = words;
}

const char *csystem_argument(size_t index) {
    return argument_words && index < (size_t)argument_count ? argument_words[index] : NULL;
}
