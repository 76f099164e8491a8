// Calls of the C library that Swift's Glibc module does not show, because it is built without
// _GNU_SOURCE. Each is the call of that name and sets errno as that one does.
#ifndef LINUX_CALLS_H
#define LINUX_CALLS_H

// No other header: what a header declares, such as struct timespec, Swift takes for this module's
// when it comes here first, and files that import only Glibc do not see it any more. So ptrdiff_t
// stands for ssize_t, and long for off_t.
#include <stddef.h>

int linux_fsetxattr(int fd, const char *name, const void *value, size_t size);
int linux_fremovexattr(int fd, const char *name);
int linux_lsetxattr(const char *path, const char *name, const void *value, size_t size);
int linux_lremovexattr(const char *path, const char *name);
ptrdiff_t linux_flistxattr(int fd, char *list, size_t size);
ptrdiff_t linux_llistxattr(const char *path, char *list, size_t size);
ptrdiff_t linux_fgetxattr(int fd, const char *name, void *value, size_t size);
ptrdiff_t linux_lgetxattr(const char *path, const char *name, void *value, size_t size);

// lseek with SEEK_DATA and with SEEK_HOLE.
long linux_next_data(int fd, long from);
long linux_next_hole(int fd, long from);

// Makes a range of a file read as zeros, without its blocks.
int linux_punch_hole(int fd, long offset, long count);
// Makes a range of a block device read as zeros; gives a range of it back.
int linux_zero_device(int fd, long offset, long count);
int linux_discard_device(int fd, long offset, long count);
// The bytes of a block device's sectors; -1 where that cannot be asked.
int linux_sector_size(int fd);
// A file of that directory that has no name, and is gone when it is closed without one.
int linux_open_unnamed(const char *directory, unsigned int mode);
// Gives such a file a name; fails where the name is taken.
int linux_name_file(int fd, const char *path);

// getdents64: entries of an open directory, as the kernel has them.
ptrdiff_t linux_getdents(int fd, void *entries, size_t size);

// O_NOATIME.
int linux_no_access_time(void);

// Makes this thread read and write file names as UTF-8, whatever the environment says, until
// linux_locale_restore is given what this returns.
void *linux_locale_utf8(void);
// The same with no more than ASCII.
void *linux_locale_bytes(void);
void linux_locale_restore(void *previous);

// Makes malloc keep up to so many bytes that are free at an arena's end, take so many more than
// needed when it grows, and have at most so many arenas.
void linux_keep_freed_memory(size_t kept, size_t ahead, int arenas);

#endif
