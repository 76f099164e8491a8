// Calls of the C library that Swift's Glibc module does not show, because it is built without
// _GNU_SOURCE. Each is the call of that name and sets errno as that one does.
#ifndef LINUX_CALLS_H
#define LINUX_CALLS_H

#include <stddef.h>
#include <sys/types.h>

int linux_fsetxattr(int fd, const char *name, const void *value, size_t size);
int linux_fremovexattr(int fd, const char *name);
int linux_lsetxattr(const char *path, const char *name, const void *value, size_t size);
int linux_lremovexattr(const char *path, const char *name);
ssize_t linux_flistxattr(int fd, char *list, size_t size);
ssize_t linux_llistxattr(const char *path, char *list, size_t size);
ssize_t linux_fgetxattr(int fd, const char *name, void *value, size_t size);
ssize_t linux_lgetxattr(const char *path, const char *name, void *value, size_t size);

// lseek with SEEK_DATA and with SEEK_HOLE.
off_t linux_next_data(int fd, off_t from);
off_t linux_next_hole(int fd, off_t from);

// Makes this thread read and write file names as UTF-8, whatever the environment says, until
// linux_locale_restore is given what this returns.
void *linux_locale_utf8(void);
void linux_locale_restore(void *previous);

#endif
