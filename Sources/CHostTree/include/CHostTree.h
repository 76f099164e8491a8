// Interfaces of the Linux kernel that Swift's Glibc module does not import (statx, file handles,
// FIEMAP, inode flags, extended attributes, encryption), flattened to plain values.
//
// Every function returns a number that is not negative, or -errno.
#ifndef CHOSTTREE_H
#define CHOSTTREE_H

#ifdef __linux__
#include <stddef.h>
#include <stdint.h>

struct linux_time {
    int64_t seconds;
    uint32_t nanoseconds;
};

// What statx and name_to_handle_at tell about an inode.
struct linux_status {
    uint64_t inode;
    uint64_t size;
    uint64_t blocks512;
    uint32_t mode;
    uint32_t links;
    uint32_t user;
    uint32_t group;
    uint32_t device_major;
    uint32_t device_minor;
    struct linux_time access, modification, change, creation;
    uint8_t has_creation;
    uint8_t has_generation;
    uint32_t generation;
};

// A run of a file's map. `flags` are FIEMAP_EXTENT_*.
struct linux_extent {
    uint64_t logical;
    uint64_t physical;
    uint64_t length;
    uint32_t flags;
};

#define LINUX_EXTENT_LAST 0x0001u
#define LINUX_EXTENT_UNKNOWN 0x0002u
#define LINUX_EXTENT_INLINE 0x0200u
#define LINUX_EXTENT_UNWRITTEN 0x0800u

// Opening and reading. None of them follows a symbolic link in the last part of the name.
int linux_open_directory(int directory, const uint8_t *name);
int linux_open_for_reading(int directory, const uint8_t *name);
int linux_create(int directory, const uint8_t *name, uint32_t mode);
int linux_close(int file);
int linux_status(int directory, const uint8_t *name, struct linux_status *status);
long linux_entries(int directory, uint8_t *buffer, size_t capacity);
long linux_read_symlink(int directory, const uint8_t *name, uint8_t *buffer, size_t capacity);
long linux_read_at(int file, uint8_t *buffer, size_t count, uint64_t offset);
long linux_write_at(int file, const uint8_t *buffer, size_t count, uint64_t offset);
int64_t linux_seek_data(int file, int64_t offset);
int64_t linux_seek_hole(int file, int64_t offset);

// Fills at most `capacity` extents from byte `start` on.
long linux_map(int file, uint64_t start, struct linux_extent *extents, uint32_t capacity);
int linux_flags(int file, uint32_t *flags);
int linux_set_flags(int file, uint32_t flags);
int linux_project(int file, uint32_t *project);

// Extended attributes of the name itself, not of what it links to.
long linux_attribute_names(int directory, const uint8_t *name, uint8_t *buffer, size_t capacity);
long linux_attribute(
    int directory, const uint8_t *name, const uint8_t *attribute, uint8_t *buffer, size_t capacity);
int linux_set_attribute(
    int directory, const uint8_t *name, const uint8_t *attribute, const uint8_t *value,
    size_t count);

// Changing a tree.
int linux_make_directory(int directory, const uint8_t *name, uint32_t mode);
int linux_make_node(
    int directory, const uint8_t *name, uint32_t mode, uint32_t device_major,
    uint32_t device_minor);
int linux_link(int directory, const uint8_t *name, int new_directory, const uint8_t *new_name);
int linux_make_symlink(int directory, const uint8_t *name, const uint8_t *target);
int linux_unlink(int directory, const uint8_t *name);
int linux_remove_directory(int directory, const uint8_t *name);
int linux_set_owner(int directory, const uint8_t *name, uint32_t user, uint32_t group);
int linux_set_mode(int directory, const uint8_t *name, uint32_t mode);
int linux_set_times(
    int directory, const uint8_t *name, struct linux_time access, struct linux_time modification);
int linux_truncate(int file, uint64_t size);
// `mode` is of FALLOC_FL_*: 1 keeps the size, 2 punches, 8 collapses, 16 zeroes, 32 inserts.
int linux_allocate(int file, int mode, uint64_t offset, uint64_t count);
int linux_sync(int file);
int linux_sync_file_system(int file);

// Encryption (fscrypt, policies of version 2). The key is 64 bytes, its identifier 16.
int linux_add_key(int directory, const uint8_t *key, uint8_t *identifier);
int linux_encrypt(int directory, const uint8_t *identifier);

// Signals: after `linux_catch_signals` SIGINT, SIGTERM and SIGHUP only set a mark.
void linux_catch_signals(void);
int linux_caught_signal(void);

// Runs a program (`count` arguments, each with a NUL behind it) with its output going to the file `output`, both
// kinds of it, in a process of its own whose id is returned.
int linux_start(const uint8_t *arguments, size_t count, const char *output);
// Waits for one process. Returns its exit code (128 + number for a signal), or -EAGAIN when
// `blocks` is 0 and it runs on.
int linux_wait(int process, int blocks);
#endif
#endif
