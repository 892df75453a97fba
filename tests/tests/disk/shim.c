/*
 * Preloaded into a server, makes its disk fail: one chosen call on the files below a folder `log` does not happen and
 * gives an errno. The calls behind it succeed again, as they do on a real disk, whose kernel tells an error once: whoever
 * tries again would be deceived. Every call is written down.
 *
 *   SHIM_CALL    write, fdatasync or fsync
 *   SHIM_NTH     which one of them fails, from 1
 *   SHIM_ERRNO   what it gives
 *   SHIM_TORN    set: half of the failing write is written
 *   SHIM_CALLS   the file in which calls are written down, one a line: the call, and whether it failed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long calls_seen;

static ssize_t real_write(int fd, const void *bytes, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return real(fd, bytes, length);
}

static int real_sync(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}

static int is_of_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strstr(path, "/log/")) return 1;
    return length >= 4 && strcmp(path + length - 4, "/log") == 0;
}

/* Writes the call down; whether it has to fail. */
static int fails(const char *name) {
    const char *call = getenv("SHIM_CALL"), *nth = getenv("SHIM_NTH"), *file = getenv("SHIM_CALLS");
    if (!call || !nth || !file) return 0;
    pthread_mutex_lock(&lock);
    int failing = strcmp(call, name) == 0 && ++calls_seen == atol(nth);
    char line[64];
    int length = snprintf(line, sizeof line, "%s %s\n", name, failing ? "failed" : "done");
    int out = open(file, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (out >= 0) {
        if (real_write(out, line, length) != length) abort();
        close(out);
    }
    pthread_mutex_unlock(&lock);
    return failing;
}

static int fail(void) {
    const char *number = getenv("SHIM_ERRNO");
    errno = number ? atoi(number) : EIO;
    return -1;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    static __thread int torn_fd = -1;
    if (!is_of_log(fd)) return real_write(fd, bytes, length);
    if (torn_fd == fd) {
        torn_fd = -1;
        return fail();
    }
    if (!fails("write")) return real_write(fd, bytes, length);
    if (!getenv("SHIM_TORN")) return fail();
    /* The first half gets through; the rest, which the caller must try, does not. */
    torn_fd = fd;
    return real_write(fd, bytes, length / 2);
}

int fdatasync(int fd) {
    if (is_of_log(fd) && fails("fdatasync")) return fail();
    return real_sync("fdatasync", fd);
}

int fsync(int fd) {
    if (is_of_log(fd) && fails("fsync")) return fail();
    return real_sync("fsync", fd);
}
