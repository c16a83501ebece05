/*
 * A disk that fails, for one process: preload it (LD_PRELOAD) and say what fails by environment.
 *
 *   FAULT_PATH  only files whose path contains this text
 *   FAULT_KIND  what happens, see below
 *   FAULT_AT    at which operation it happens, from 1
 *   FAULT_SEED  which unsynced writes survive a crash (see `crash`); 0: none does
 *   FAULT_HIT   this file is made when the fault happens, so that a test knows when it has tried every operation
 *
 *   enospc, eio, erofs                one write fails             (operations: writes and truncations)
 *   enospc-on, eio-on, erofs-on       it and all after it fail
 *   enospc-while, erofs-while         all fail while the file FAULT_WHILE is there
 *   torn                              half of one write arrives, then the power fails
 *   crash                             the power fails instead of one operation (writes, truncations and syncs)
 *   sync-eio, sync-eio-on             a sync fails                (operations: syncs)
 *   sync-eio-while                    all fail while the file FAULT_WHILE is there
 *   sync-lost                         a sync fails, and what it was to save is lost for good: later syncs succeed
 *                                     without it, as Linux does
 *
 * The power failing means: every write that no sync has saved is taken back (those that FAULT_SEED does not spare),
 * and the process is killed. A program makes it fail by removing the file /shim/power. Nothing is synced really.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct undo {
    struct undo *before;
    dev_t dev;
    ino_t ino;
    int fd; /* our own, so that it works when the program has closed its own */
    off_t offset;
    size_t length;  /* written */
    size_t had;     /* bytes there before, of those */
    off_t size_was; /* size of the file before */
    int truncation;
    int lost;
    char *bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct undo *undos;
static long writes, syncs, all;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int fault_is(const char *name) {
    const char *fault = getenv("FAULT_KIND");
    return fault && strcmp(fault, name) == 0;
}

static int concerns(int fd, struct stat *file) {
    const char *wanted = getenv("FAULT_PATH");
    char link[64], path[4096];
    if (!wanted || fstat(fd, file) != 0 || !S_ISREG(file->st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, wanted) != NULL;
}

static void hit(void) {
    const char *path = getenv("FAULT_HIT");
    if (path) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0600);
        if (fd >= 0) syscall(SYS_close, fd);
    }
}

static void fill_with_zeros(int fd, off_t from, off_t to) {
    static const char zeros[4096];
    while (from < to) {
        size_t some = (size_t)(to - from) < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        syscall(SYS_pwrite64, fd, zeros, some, from);
        from += (off_t)some;
    }
}

/* Takes back what no sync has saved, newest first, and ends the process. */
static void power_fails(void) {
    unsigned long seed = (unsigned long)number("FAULT_SEED");
    for (struct undo *u = undos; u; u = u->before) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        int spared = number("FAULT_SEED") != 0 && !u->lost && (seed >> 62) < 2;
        if (spared) continue;
        if (u->had) syscall(SYS_pwrite64, u->fd, u->bytes, u->had, u->offset);
        struct stat now;
        if (fstat(u->fd, &now) == 0) {
            int grew = (off_t)(u->offset + u->length) > u->size_was;
            if (u->truncation || (grew && now.st_size > u->size_was && now.st_size <= (off_t)(u->offset + u->length)))
                syscall(SYS_ftruncate, u->fd, u->size_was);
            else if (grew && now.st_size > u->size_was) /* something behind it arrived: a hole is left */
                fill_with_zeros(u->fd, u->offset + (off_t)u->had, u->offset + (off_t)u->length);
            if (u->truncation && u->had) syscall(SYS_pwrite64, u->fd, u->bytes, u->had, u->offset);
        }
    }
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Remembers what a write or truncation is about to replace. */
static void remember(int fd, const struct stat *file, off_t offset, size_t length, int truncation) {
    struct undo *u = calloc(1, sizeof *u);
    if (!u) abort();
    u->dev = file->st_dev;
    u->ino = file->st_ino;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    /* A descriptor with its own position, for reading and writing, whatever the program's may do. */
    u->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    u->offset = offset;
    u->length = length;
    u->size_was = file->st_size;
    u->truncation = truncation;
    u->bytes = malloc(length ? length : 1);
    if (!u->bytes) abort();
    ssize_t had = u->fd >= 0 ? pread(u->fd, u->bytes, length, offset) : 0;
    u->had = had > 0 ? (size_t)had : 0;
    u->before = undos;
    undos = u;
}

static void forget(struct undo **at) {
    struct undo *u = *at;
    *at = u->before;
    if (u->fd >= 0) syscall(SYS_close, u->fd);
    free(u->bytes);
    free(u);
}

static int covers(const struct undo *whole, const struct undo *part) {
    return whole->offset <= part->offset && part->offset + (off_t)part->length <= whole->offset + (off_t)whole->length;
}

/* A sync has saved this file: what was written before it cannot be taken back. What an earlier sync lost stays lost,
 * unless it was written again since. */
static void saved(const struct stat *file) {
    for (struct undo *u = undos; u; u = u->before) {
        if (u->dev != file->st_dev || u->ino != file->st_ino || u->lost) continue;
        for (struct undo **at = &u->before; *at;) {
            struct undo *older = *at;
            int same = older->dev == u->dev && older->ino == u->ino;
            if (same && older->lost && covers(u, older)) forget(at);
            else at = &older->before;
        }
    }
    for (struct undo **at = &undos; *at;) {
        struct undo *u = *at;
        if (u->dev == file->st_dev && u->ino == file->st_ino && !u->lost) forget(at);
        else at = &u->before;
    }
}

/* A failed sync loses data; the size of a file is the file system's own and is not lost with it. */
static void lose(const struct stat *file) {
    for (struct undo **at = &undos; *at;) {
        struct undo *u = *at;
        int same = u->dev == file->st_dev && u->ino == file->st_ino;
        if (same && u->truncation) {
            forget(at);
            continue;
        }
        if (same) u->lost = 1;
        at = &u->before;
    }
}

/* Whether the fault of a `-while` kind is there now. */
static int is_while(void) {
    const char *path = getenv("FAULT_WHILE");
    return path && access(path, F_OK) == 0;
}

/* The error for this write, or 0. */
static int write_fault(void) {
    long at = number("FAULT_AT");
    writes++;
    all++;
    if (fault_is("crash") && all == at) {
        hit();
        power_fails();
    }
    static const struct { const char *once, *on; int error; } faults[] = {
        { "enospc", "enospc-on", ENOSPC }, { "eio", "eio-on", EIO }, { "erofs", "erofs-on", EROFS },
    };
    if (fault_is("enospc-while") && is_while()) {
        hit();
        return ENOSPC;
    }
    if (fault_is("erofs-while") && is_while()) {
        hit();
        return EROFS;
    }
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        if ((fault_is(faults[i].once) && writes == at) || (fault_is(faults[i].on) && writes >= at)) {
            hit();
            return faults[i].error;
        }
    }
    return 0;
}

static ssize_t write_at(int fd, const void *bytes, size_t length, off_t offset, int positioned) {
    struct stat file;
    if (!concerns(fd, &file)) {
        return positioned ? syscall(SYS_pwrite64, fd, bytes, length, offset) : syscall(SYS_write, fd, bytes, length);
    }
    pthread_mutex_lock(&lock);
    int error = write_fault();
    ssize_t done = -1;
    if (error) {
        errno = error;
    } else {
        off_t place = positioned ? offset
            : (fcntl(fd, F_GETFL) & O_APPEND) ? file.st_size
                                              : (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
        remember(fd, &file, place, length, 0);
        if (fault_is("torn") && writes == number("FAULT_AT")) {
            size_t half = length > 1024 ? length / 2 / 512 * 512 : length / 2;
            syscall(SYS_pwrite64, fd, bytes, half, place);
            hit();
            /* This half arrived; everything else unsaved may be lost. */
            undos->length = 0, undos->had = 0, undos->size_was = place + (off_t)half;
            power_fails();
        }
        done = positioned ? syscall(SYS_pwrite64, fd, bytes, length, offset) : syscall(SYS_write, fd, bytes, length);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) { return write_at(fd, bytes, length, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return write_at(fd, bytes, length, offset, 1);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    return write_at(fd, bytes, length, offset, 1);
}
ssize_t writev(int fd, const struct iovec *pieces, int count) {
    struct stat file;
    if (!concerns(fd, &file)) return syscall(SYS_writev, fd, pieces, count);
    return count > 0 ? write(fd, pieces[0].iov_base, pieces[0].iov_len) : 0;
}

static int truncate_to(int fd, off_t length) {
    struct stat file;
    if (!concerns(fd, &file)) return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    int error = write_fault();
    int done = -1;
    if (error) {
        errno = error;
    } else {
        size_t cut = file.st_size > length ? (size_t)(file.st_size - length) : 0;
        remember(fd, &file, length < file.st_size ? length : file.st_size, cut, 1);
        done = (int)syscall(SYS_ftruncate, fd, length);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return truncate_to(fd, length); }
int ftruncate64(int fd, off_t length) { return truncate_to(fd, length); }

static int sync_file(int fd) {
    struct stat file;
    if (!concerns(fd, &file)) return 0;
    pthread_mutex_lock(&lock);
    long at = number("FAULT_AT");
    int done = 0;
    syncs++;
    all++;
    if (fault_is("crash") && all == at) {
        hit();
        power_fails();
    }
    if ((fault_is("sync-eio") && syncs == at) || (fault_is("sync-eio-on") && syncs >= at) ||
        (fault_is("sync-eio-while") && is_while())) {
        hit();
        errno = EIO;
        done = -1;
    } else if (fault_is("sync-lost") && syncs == at) {
        hit();
        lose(&file);
        errno = EIO;
        done = -1;
    } else {
        saved(&file);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd) { return sync_file(fd); }
int fdatasync(int fd) { return sync_file(fd); }

int unlink(const char *path) {
    if (strcmp(path, "/shim/power") == 0) {
        pthread_mutex_lock(&lock);
        power_fails();
    }
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
