#define _GNU_SOURCE
#include "FaultControl.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const uint64_t magic = 0x31746c7561664343;  // "CCfault1"

static struct fault_control *map(int fd) {
    if (fd < 0) return NULL;
    void *memory = mmap(NULL, sizeof(struct fault_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

struct fault_control *fault_control_create(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && ftruncate(fd, sizeof(struct fault_control)) != 0) {
        close(fd);
        return NULL;
    }
    struct fault_control *control = map(fd);
    if (control != NULL) atomic_store(&control->magic, magic);
    return control;
}

struct fault_control *fault_control_open(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    // A file that is too short would end the process at the first look.
    if (fd >= 0 && lseek(fd, 0, SEEK_END) < (off_t)sizeof(struct fault_control)) {
        close(fd);
        return NULL;
    }
    struct fault_control *control = map(fd);
    if (control == NULL || atomic_load(&control->magic) == magic) return control;
    fault_control_close(control);
    return NULL;
}

void fault_control_close(struct fault_control *control) { munmap(control, sizeof *control); }

// MARK: Functions

#define FAULT_NAME(name) #name,
static const char *const names[] = {FAULT_EACH_FUNCTION(FAULT_NAME)};

const char *fault_function_name(uint32_t function) { return names[function]; }

uint32_t fault_function_named(const char *name) {
    uint32_t function = 0;
    while (function < FAULT_FUNCTIONS && strcmp(names[function], name) != 0) function++;
    return function;
}

uint64_t fault_calls(struct fault_control *control, uint32_t function) { return control->functions[function].calls; }
int64_t fault_inside(struct fault_control *control, uint32_t function) { return control->functions[function].inside; }

// MARK: Rules

int fault_arm(
    struct fault_control *control, uint32_t function, uint32_t action, uint64_t parameter, uint64_t first, uint64_t times,
    uint32_t probability) {
    for (int number = 0; number < FAULT_RULES; number++) {
        struct fault_rule *rule = &control->rules[number];
        uint32_t generation = rule->generation;
        if (generation % 2 == 1) continue;
        rule->function = function;
        rule->action = action;
        rule->parameter = parameter;
        rule->first = first;
        rule->times = times;
        rule->probability = probability;
        rule->calls = 0;
        rule->hits = 0;
        rule->held = 0;
        rule->generation = generation + 1;
        control->attention++;
        return number;
    }
    return -1;
}

void fault_clear(struct fault_control *control, int number) {
    struct fault_rule *rule = &control->rules[number];
    if (rule->generation % 2 == 0) return;
    rule->generation++;
    control->attention--;
    syscall(SYS_futex, &rule->generation, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    struct timespec moment = {0, 500000};
    for (int turn = 0; turn < 1000 && rule->held > 0; turn++) nanosleep(&moment, NULL);
}

void fault_wait(struct fault_rule *rule, uint32_t generation) {
    while (rule->generation == generation) syscall(SYS_futex, &rule->generation, FUTEX_WAIT, generation, NULL, NULL, 0);
}

uint64_t fault_hits(struct fault_control *control, int rule) { return control->rules[rule].hits; }
uint32_t fault_held(struct fault_control *control, int rule) { return control->rules[rule].held; }

// MARK: Sessions and logins

/// When a process started, in ticks since the machine did; 0 if it does not live, or only waits to be reaped.
static uint64_t start_of(int32_t process) {
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return 0;
    text[length] = 0;
    // The second field is a name in brackets and may hold anything.
    const char *rest = strrchr(text, ')');
    char state = 0;
    unsigned long long started = 0;
    const char *format = ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu";
    if (rest == NULL || sscanf(rest, format, &state, &started) != 2 || state == 'Z' || state == 'X') return 0;
    return started;
}

struct fault_process *fault_enter_process(struct fault_control *control) {
    int32_t own = getpid();
    for (int turn = 0; turn < FAULT_PROCESSES; turn++) {
        struct fault_process *place = &control->processes[turn];
        int32_t holder = place->process;
        if (holder != 0 && holder != own && start_of(holder) == place->started) continue;
        if (!atomic_compare_exchange_strong(&place->process, &holder, own)) continue;
        place->started = start_of(own);
        place->sessions = 0;
        return place;
    }
    return NULL;
}

void fault_count_sessions(struct fault_control *control, struct fault_process *process, int64_t change) {
    int64_t now = atomic_fetch_add(&process->sessions, change) + change;
    int64_t high = control->sessions_high;
    while (now > high && !atomic_compare_exchange_weak(&control->sessions_high, &high, now)) {}
}

int64_t fault_sessions(struct fault_control *control) {
    int64_t sum = 0;
    for (int index = 0; index < FAULT_PROCESSES; index++) {
        struct fault_process *place = &control->processes[index];
        int32_t process = place->process;
        if (process != 0 && place->sessions != 0 && start_of(process) == place->started) sum += place->sessions;
    }
    return sum;
}

int64_t fault_sessions_high(struct fault_control *control) { return control->sessions_high; }
uint64_t fault_logins(struct fault_control *control) { return control->logins; }
uint64_t fault_refused_logins(struct fault_control *control) { return control->refused_logins; }
uint64_t fault_logins_after_refusal(struct fault_control *control) { return control->logins_after_refusal; }

void fault_reset_logins(struct fault_control *control) {
    control->refused_logins = 0;
    control->logins_after_refusal = 0;
}

// MARK: The reader

void fault_insert(struct fault_control *control, const char *label) {
    unsigned char bytes[FAULT_LABEL] = {0};
    if (label != NULL && *label != 0) {
        memset(bytes, ' ', sizeof bytes);
        memcpy(bytes, label, strnlen(label, sizeof bytes));
    }
    control->insertion++;
    for (int word = 0; word < FAULT_LABEL / 8; word++) {
        uint64_t value;
        memcpy(&value, bytes + 8 * word, 8);
        control->inserted[word] = value;
    }
    control->insertion++;
    if (atomic_exchange(&control->has_reader, 1) == 0) control->attention++;
}

void fault_remove_reader(struct fault_control *control) {
    if (atomic_exchange(&control->has_reader, 0) == 1) control->attention--;
}

bool fault_inserted(struct fault_control *control, unsigned char label[FAULT_LABEL], uint32_t *insertion) {
    do {
        *insertion = control->insertion;
        for (int word = 0; word < FAULT_LABEL / 8; word++) {
            uint64_t value = control->inserted[word];
            memcpy(label + 8 * word, &value, 8);
        }
    } while (*insertion % 2 == 1 || *insertion != control->insertion);
    return label[0] != 0;
}
