// In the place of glibc's, for the programs that this is linked into.
#include <sys/resource.h>

// Dispatch asks for a priority whenever it makes a thread, and complains in the log if it is refused. custodyd's unit does refuse
// it, as every call that alters resources: all threads run at the priority of their process.
#ifdef __GLIBC__
int setpriority(__priority_which_t which, id_t who, int priority) {
#else
int setpriority(int which, id_t who, int priority) {
#endif
    (void)which;
    (void)who;
    (void)priority;
    return 0;
}
