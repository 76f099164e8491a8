#define _GNU_SOURCE
#include "linux_calls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <malloc.h>
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

int linux_fsetxattr(int fd, const char *name, const void *value, size_t size) {
    return fsetxattr(fd, name, value, size, 0);
}

int linux_fremovexattr(int fd, const char *name) { return fremovexattr(fd, name); }

int linux_lsetxattr(const char *path, const char *name, const void *value, size_t size) {
    return lsetxattr(path, name, value, size, 0);
}

int linux_lremovexattr(const char *path, const char *name) { return lremovexattr(path, name); }

ptrdiff_t linux_flistxattr(int fd, char *list, size_t size) { return flistxattr(fd, list, size); }

ptrdiff_t linux_llistxattr(const char *path, char *list, size_t size) {
    return llistxattr(path, list, size);
}

ptrdiff_t linux_fgetxattr(int fd, const char *name, void *value, size_t size) {
    return fgetxattr(fd, name, value, size);
}

ptrdiff_t linux_lgetxattr(const char *path, const char *name, void *value, size_t size) {
    return lgetxattr(path, name, value, size);
}

long linux_next_data(int fd, long from) { return lseek(fd, from, SEEK_DATA); }

long linux_next_hole(int fd, long from) { return lseek(fd, from, SEEK_HOLE); }

// Makes `name` this thread's locale for characters. It is made once, in `*kept`, and never freed:
// threads may still use it when the process ends.
static void *use_locale(locale_t *kept, const char *name) {
    locale_t locale = __atomic_load_n(kept, __ATOMIC_ACQUIRE);
    if (!locale) {
        locale = newlocale(LC_CTYPE_MASK, name, (locale_t)0);
        if (!locale) return NULL;
        locale_t expected = (locale_t)0;
        if (!__atomic_compare_exchange_n(kept, &expected, locale, 0, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE)) {
            freelocale(locale);
            locale = expected;
        }
    }
    return uselocale(locale);
}

void *linux_locale_utf8(void) {
    static locale_t utf8;
    return use_locale(&utf8, "C.UTF-8");
}

void *linux_locale_bytes(void) {
    static locale_t bytes;
    return use_locale(&bytes, "C");
}

void linux_locale_restore(void *previous) {
    if (previous) uselocale((locale_t)previous);
}

void linux_keep_freed_memory(size_t kept, size_t ahead, int arenas)
{
    mallopt(M_TRIM_THRESHOLD, (int)kept);
    mallopt(M_MMAP_THRESHOLD, (int)kept);
    mallopt(M_TOP_PAD, (int)ahead);
    mallopt(M_ARENA_MAX, arenas);
}

int linux_punch_hole(int fd, long offset, long count) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, count);
}

static int device_range(int fd, unsigned long request, long offset, long count) {
    uint64_t range[2] = {(uint64_t)offset, (uint64_t)count};
    return ioctl(fd, request, range);
}

int linux_zero_device(int fd, long offset, long count) {
    return device_range(fd, BLKZEROOUT, offset, count);
}

int linux_discard_device(int fd, long offset, long count) {
    return device_range(fd, BLKDISCARD, offset, count);
}

int linux_sector_size(int fd) {
    int size = 0;
    return ioctl(fd, BLKSSZGET, &size) == 0 ? size : -1;
}

int linux_open_unnamed(const char *directory, unsigned int mode) {
    return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
}

int linux_name_file(int fd, const char *path) {
    char own[64];
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, own, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

ptrdiff_t linux_getdents(int fd, void *entries, size_t size) {
    return syscall(SYS_getdents64, fd, entries, size);
}

int linux_no_access_time(void) { return O_NOATIME; }
