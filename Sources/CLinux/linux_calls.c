#define _GNU_SOURCE
#include "linux_calls.h"

#include <malloc.h>
#include <locale.h>
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

void *linux_locale_utf8(void) {
    // Made once and never freed: threads may still use it when the process ends.
    static locale_t utf8;
    locale_t locale = __atomic_load_n(&utf8, __ATOMIC_ACQUIRE);
    if (!locale) {
        locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        if (!locale) return NULL;
        locale_t expected = (locale_t)0;
        if (!__atomic_compare_exchange_n(&utf8, &expected, locale, 0, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE)) {
            freelocale(locale);
            locale = expected;
        }
    }
    return uselocale(locale);
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
