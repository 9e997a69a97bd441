/* Preloaded into a Python process: counts the system calls that change files below one folder, and at the n-th kills the
 * process or makes the call fail. The kernel is called directly, so no symbol has to be looked up. x86-64 and AArch64.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define LOG_BYTES 65536

enum { COUNT = 0, KILL = 1, FAIL_ONCE = 2, FAIL_FROM_HERE = 3 };

typedef struct {
    long count;            /* calls so far, in all processes that inherited the mapping */
    char kinds[LOG_BYTES]; /* one letter for each: w write, c create, r rename, l link, d mkdir, u unlink, f fsync, t truncate */
} record;

static record *shared;
static char folder[4096];
static size_t folder_bytes;
static long at;
static int action, code, armed;

/* Memory that forked processes share; returns it. */
record *faults_share(void) {
    shared = mmap(NULL, sizeof(record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED ? NULL : shared;
}

/* From now on, in this process: calls below `below` count, and something happens at call `n` (1 is the first). */
void faults_arm(const char *below, long n, int what, int error) {
    snprintf(folder, sizeof folder, "%s", below);
    folder_bytes = strlen(folder);
    at = n;
    action = what;
    code = error;
    shared->count = 0;
    armed = 1;
}

static int is_below(const char *path) {
    return strncmp(path, folder, folder_bytes) == 0 && (path[folder_bytes] == '/' || path[folder_bytes] == 0);
}

static int link_is_below(const char *link) {
    char target[4096];
    long bytes = syscall(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1);
    if (bytes < 0) return 0;
    target[bytes] = 0;
    return is_below(target);
}

static int fd_is_below(int fd) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return link_is_below(link);
}

static int concerns(int dirfd, const char *path) {
    if (path == NULL) return 0;
    if (path[0] == '/') return is_below(path);
    return dirfd == AT_FDCWD ? link_is_below("/proc/self/cwd") : fd_is_below(dirfd);
}

/* 0: go on; 1: fail with errno set; 2: do a part of the call, then `die`. */
static int step(char kind) {
    if (!armed) return 0;
    long n = __atomic_add_fetch(&shared->count, 1, __ATOMIC_SEQ_CST);
    if (n <= LOG_BYTES) shared->kinds[n - 1] = kind;
    if (action == KILL && n == at) return 2;
    int needs_space = kind == 'w' || kind == 'c' || kind == 'd' || kind == 'l';
    if ((action == FAIL_ONCE && n == at) || (action == FAIL_FROM_HERE && (n == at || (n > at && needs_space)))) {
        errno = code;
        return 1;
    }
    return 0;
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* For calls that do all or nothing. */
#define GUARD(below, kind)                   \
    do {                                     \
        if (armed && (below)) {              \
            switch (step(kind)) {            \
                case 1: return -1;           \
                case 2: die();               \
            }                                \
        }                                    \
    } while (0)

static int do_open(int dirfd, const char *path, int flags, mode_t mode) {
    if (flags & O_CREAT) GUARD(concerns(dirfd, path), 'c');
    return (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

#define OPEN_BODY(dirfd)                                   \
    mode_t mode = 0;                                       \
    if (flags & (O_CREAT | __O_TMPFILE)) {                 \
        va_list list;                                      \
        va_start(list, flags);                             \
        mode = va_arg(list, mode_t);                       \
        va_end(list);                                      \
    }                                                      \
    return do_open(dirfd, path, flags, mode);

int open(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD) }
int open64(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD) }
int openat(int dirfd, const char *path, int flags, ...) { OPEN_BODY(dirfd) }
int openat64(int dirfd, const char *path, int flags, ...) { OPEN_BODY(dirfd) }

ssize_t write(int fd, const void *data, size_t bytes) {
    if (armed && fd_is_below(fd)) {
        switch (step('w')) {
            case 1: return -1;
            case 2: syscall(SYS_write, fd, data, bytes / 2); die();
        }
    }
    return syscall(SYS_write, fd, data, bytes);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    GUARD(fd_is_below(fd), 'w');
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
    GUARD(fd_is_below(fd), 'w');
    return syscall(SYS_pwrite64, fd, data, bytes, offset);
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t bytes) {
    GUARD(fd_is_below(out), 'w');
    return syscall(SYS_sendfile, out, in, offset, bytes);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t bytes) { return sendfile64(out, in, (off64_t *)offset, bytes); }

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t bytes, unsigned flags) {
    GUARD(fd_is_below(out), 'w');
    return syscall(SYS_copy_file_range, in, from, out, to, bytes, flags);
}

int ftruncate64(int fd, off64_t bytes) {
    GUARD(fd_is_below(fd), 't');
    return (int)syscall(SYS_ftruncate, fd, bytes);
}
int ftruncate(int fd, off_t bytes) { return ftruncate64(fd, bytes); }

int fsync(int fd) {
    GUARD(fd_is_below(fd), 'f');
    return (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd) {
    GUARD(fd_is_below(fd), 'f');
    return (int)syscall(SYS_fdatasync, fd);
}

int renameat2(int dir, const char *from, int other, const char *to, unsigned flags) {
    GUARD(concerns(other, to), 'r');
    return (int)syscall(SYS_renameat2, dir, from, other, to, flags);
}
int renameat(int dir, const char *from, int other, const char *to) { return renameat2(dir, from, other, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int dir, const char *from, int other, const char *to, int flags) {
    GUARD(concerns(other, to), 'l');
    return (int)syscall(SYS_linkat, dir, from, other, to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int mkdirat(int dir, const char *path, mode_t mode) {
    GUARD(concerns(dir, path), 'd');
    return (int)syscall(SYS_mkdirat, dir, path, mode);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int dir, const char *path, int flags) {
    GUARD(concerns(dir, path), 'u');
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
