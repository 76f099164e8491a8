// Preloaded into the process that serves a mount: writes down, in order, what it writes to its
// image and what it was told is durable, so that a power failure can be played afterwards.
//
// SOAK_IMAGE is the path of the image, SOAK_LOG that of the record. The record is a sequence of
//   'W' offset count bytes     a write that is done
//   'F' number                 a flush that is done: the first `number` writes are durable
// with numbers of 64 bits as the machine has them.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;
static dev_t device;
static ino_t inode;
static uint64_t writes;

__attribute__((constructor)) static void start(void) {
    const char *image = getenv("SOAK_IMAGE"), *log = getenv("SOAK_LOG");
    struct stat status;
    if (!image || !log || stat(image, &status) != 0) return;
    device = status.st_dev;
    inode = status.st_ino;
    record = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    // The mount closes what it does not know when it goes to the background: it stays in front.
    if (record < 0) _exit(120);
}

static int is_image(int file) {
    struct stat status;
    return record >= 0 && fstat(file, &status) == 0 && status.st_dev == device &&
           status.st_ino == inode;
}

// The whole of it or the process ends: a record with a gap would tell lies.
static void put(struct iovec *parts, int count, size_t total) {
    ssize_t done = writev(record, parts, count);
    if (done < 0 || (size_t)done != total) _exit(121);
}

static ssize_t write_at(int file, const void *bytes, size_t count, off_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pwrite64");
    if (!is_image(file)) return real(file, bytes, count, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = real(file, bytes, count, offset);
    if (done > 0) {
        char kind = 'W';
        uint64_t head[2] = {(uint64_t)offset, (uint64_t)done};
        struct iovec parts[3] = {{&kind, 1}, {head, sizeof head}, {(void *)bytes, (size_t)done}};
        put(parts, 3, 1 + sizeof head + (size_t)done);
        writes++;
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    return write_at(file, bytes, count, offset);
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    return write_at(file, bytes, count, offset);
}

static int flush(int file, const char *name) {
    int (*real)(int);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    if (!is_image(file)) return real(file);
    pthread_mutex_lock(&lock);
    uint64_t before = writes;
    pthread_mutex_unlock(&lock);
    // As long as a disk takes: meanwhile others write what this does not make durable.
    usleep(500 + (unsigned)(before * 2654435761u % 4000));
    int status = real(file);
    if (status == 0) {
        char kind = 'F';
        struct iovec parts[2] = {{&kind, 1}, {&before, sizeof before}};
        pthread_mutex_lock(&lock);
        put(parts, 2, 1 + sizeof before);
        pthread_mutex_unlock(&lock);
    }
    return status;
}

int fdatasync(int file) { return flush(file, "fdatasync"); }
int fsync(int file) { return flush(file, "fsync"); }

// Ways to change the image that are not in the record: there must be none.
static void refuse(int file) {
    if (is_image(file)) _exit(122);
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
    refuse(file);
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pwritev");
    return real(file, parts, count, offset);
}
int fallocate(int file, int mode, off_t offset, off_t count) {
    refuse(file);
    static int (*real)(int, int, off_t, off_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fallocate");
    return real(file, mode, offset, count);
}
