#ifdef __linux__
#define _GNU_SOURCE
#include "CHostTree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;

#define RESULT(call)                          \
    do {                                      \
        __typeof__(call) result_ = (call);    \
        return result_ < 0 ? -errno : result_; \
    } while (0)

static const char *text(const uint8_t *bytes) { return (const char *)bytes; }

int linux_open_directory(int directory, const uint8_t *name) {
    RESULT(openat(directory, text(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

int linux_open_for_reading(int directory, const uint8_t *name) {
    RESULT(openat(directory, text(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
}

int linux_create(int directory, const uint8_t *name, uint32_t mode) {
    RESULT(openat(directory, text(name), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mode));
}

int linux_close(int file) { RESULT(close(file)); }

static struct linux_time time_of(struct statx_timestamp time) {
    return (struct linux_time){time.tv_sec, time.tv_nsec};
}

int linux_status(int directory, const uint8_t *name, struct linux_status *status) {
    struct statx s;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;
    if (statx(directory, text(name), flags, STATX_BASIC_STATS | STATX_BTIME, &s) < 0)
        return -errno;
    *status = (struct linux_status){
        .inode = s.stx_ino,
        .size = s.stx_size,
        .blocks512 = s.stx_blocks,
        .mode = s.stx_mode,
        .links = s.stx_nlink,
        .user = s.stx_uid,
        .group = s.stx_gid,
        .device_major = s.stx_rdev_major,
        .device_minor = s.stx_rdev_minor,
        .access = time_of(s.stx_atime),
        .modification = time_of(s.stx_mtime),
        .change = time_of(s.stx_ctime),
        .creation = time_of(s.stx_btime),
        .has_creation = (s.stx_mask & STATX_BTIME) != 0,
    };
    // A file handle of type 1 is the inode's number and its generation, 32 bits each.
    struct {
        struct file_handle handle;
        uint32_t words[32];
    } h;
    memset(&h, 0, sizeof h);
    h.handle.handle_bytes = sizeof h.words;
    int mount = 0;
    if (name_to_handle_at(directory, text(name), &h.handle, &mount, AT_EMPTY_PATH) == 0 &&
        h.handle.handle_type == 1 && h.handle.handle_bytes == 8) {
        memcpy(&status->generation, h.handle.f_handle + 4, 4);
        status->has_generation = 1;
    }
    return 0;
}

long linux_entries(int directory, uint8_t *buffer, size_t capacity) {
    RESULT(syscall(SYS_getdents64, directory, buffer, capacity));
}

long linux_read_symlink(int directory, const uint8_t *name, uint8_t *buffer, size_t capacity) {
    RESULT(readlinkat(directory, text(name), (char *)buffer, capacity));
}

long linux_read_at(int file, uint8_t *buffer, size_t count, uint64_t offset) {
    RESULT(pread(file, buffer, count, (off_t)offset));
}

long linux_write_at(int file, const uint8_t *buffer, size_t count, uint64_t offset) {
    RESULT(pwrite(file, buffer, count, (off_t)offset));
}

int64_t linux_seek_data(int file, int64_t offset) { RESULT(lseek(file, offset, SEEK_DATA)); }

int64_t linux_seek_hole(int file, int64_t offset) { RESULT(lseek(file, offset, SEEK_HOLE)); }

long linux_map(int file, uint64_t start, struct linux_extent *extents, uint32_t capacity) {
    struct fiemap *map = calloc(1, sizeof *map + capacity * sizeof(struct fiemap_extent));
    if (!map)
        return -ENOMEM;
    map->fm_start = start;
    map->fm_length = FIEMAP_MAX_OFFSET - start;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = capacity;
    long result = ioctl(file, FS_IOC_FIEMAP, map) < 0 ? -errno : (long)map->fm_mapped_extents;
    for (long i = 0; i < result; i++) {
        const struct fiemap_extent *e = &map->fm_extents[i];
        extents[i] = (struct linux_extent){e->fe_logical, e->fe_physical, e->fe_length, e->fe_flags};
    }
    free(map);
    return result;
}

int linux_flags(int file, uint32_t *flags) {
    int value = 0;
    if (ioctl(file, FS_IOC_GETFLAGS, &value) < 0)
        return -errno;
    *flags = (uint32_t)value;
    return 0;
}

int linux_set_flags(int file, uint32_t flags) {
    int value = (int)flags;
    RESULT(ioctl(file, FS_IOC_SETFLAGS, &value));
}

int linux_project(int file, uint32_t *project) {
    struct fsxattr attributes;
    if (ioctl(file, FS_IOC_FSGETXATTR, &attributes) < 0)
        return -errno;
    *project = attributes.fsx_projid;
    return 0;
}

// The *xattr calls have no variant for a directory's descriptor; its magic link does the same.
static void attribute_path(int directory, const uint8_t *name, char *path, size_t capacity) {
    snprintf(path, capacity, "/proc/self/fd/%d/%s", directory, text(name));
}

long linux_attribute_names(int directory, const uint8_t *name, uint8_t *buffer, size_t capacity) {
    char path[512];
    attribute_path(directory, name, path, sizeof path);
    RESULT(llistxattr(path, (char *)buffer, capacity));
}

long linux_attribute(
    int directory, const uint8_t *name, const uint8_t *attribute, uint8_t *buffer,
    size_t capacity) {
    char path[512];
    attribute_path(directory, name, path, sizeof path);
    RESULT(lgetxattr(path, text(attribute), buffer, capacity));
}

int linux_set_attribute(
    int directory, const uint8_t *name, const uint8_t *attribute, const uint8_t *value,
    size_t count) {
    char path[512];
    attribute_path(directory, name, path, sizeof path);
    RESULT(lsetxattr(path, text(attribute), value, count, 0));
}

int linux_make_directory(int directory, const uint8_t *name, uint32_t mode) {
    RESULT(mkdirat(directory, text(name), mode));
}

int linux_make_node(
    int directory, const uint8_t *name, uint32_t mode, uint32_t device_major,
    uint32_t device_minor) {
    RESULT(mknodat(directory, text(name), mode, makedev(device_major, device_minor)));
}

int linux_link(int directory, const uint8_t *name, int new_directory, const uint8_t *new_name) {
    RESULT(linkat(directory, text(name), new_directory, text(new_name), 0));
}

int linux_make_symlink(int directory, const uint8_t *name, const uint8_t *target) {
    RESULT(symlinkat(text(target), directory, text(name)));
}

int linux_unlink(int directory, const uint8_t *name) { RESULT(unlinkat(directory, text(name), 0)); }

int linux_remove_directory(int directory, const uint8_t *name) {
    RESULT(unlinkat(directory, text(name), AT_REMOVEDIR));
}

int linux_set_owner(int directory, const uint8_t *name, uint32_t user, uint32_t group) {
    RESULT(fchownat(directory, text(name), user, group, AT_SYMLINK_NOFOLLOW));
}

int linux_set_mode(int directory, const uint8_t *name, uint32_t mode) {
    RESULT(fchmodat(directory, text(name), mode, 0));
}

int linux_set_times(
    int directory, const uint8_t *name, struct linux_time access, struct linux_time modification) {
    struct timespec times[2] = {
        {access.seconds, access.nanoseconds}, {modification.seconds, modification.nanoseconds}};
    RESULT(utimensat(directory, text(name), times, AT_SYMLINK_NOFOLLOW));
}

int linux_truncate(int file, uint64_t size) { RESULT(ftruncate(file, (off_t)size)); }

int linux_allocate(int file, int mode, uint64_t offset, uint64_t count) {
    RESULT(fallocate(file, mode, (off_t)offset, (off_t)count));
}

int linux_sync(int file) { RESULT(fsync(file)); }

int linux_sync_file_system(int file) { RESULT(syncfs(file)); }

int linux_add_key(int directory, const uint8_t *key, uint8_t *identifier) {
    struct fscrypt_add_key_arg *argument = calloc(1, sizeof *argument + 64);
    if (!argument)
        return -ENOMEM;
    argument->key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
    argument->raw_size = 64;
    memcpy(argument->raw, key, 64);
    int result = ioctl(directory, FS_IOC_ADD_ENCRYPTION_KEY, argument) < 0 ? -errno : 0;
    memcpy(identifier, argument->key_spec.u.identifier, 16);
    free(argument);
    return result;
}

int linux_encrypt(int directory, const uint8_t *identifier) {
    struct fscrypt_policy_v2 policy = {
        .version = 2,
        .contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
        .filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
        .flags = FSCRYPT_POLICY_FLAGS_PAD_32,
    };
    memcpy(policy.master_key_identifier, identifier, 16);
    RESULT(ioctl(directory, FS_IOC_SET_ENCRYPTION_POLICY, &policy));
}

static volatile sig_atomic_t caught;

static void catch_signal(int number) { caught = number; }

void linux_catch_signals(void) {
    struct sigaction action = {.sa_handler = catch_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

int linux_caught_signal(void) { return caught; }

int linux_start(const uint8_t *arguments, size_t count, const char *output) {
    char **list = calloc(count + 1, sizeof *list);
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        list[i] = (char *)arguments;
        arguments += strlen(list[i]) + 1;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    // A group of its own: a terminal's interrupt reaches the parent alone, which cleans up.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    pid_t process = 0;
    int error = posix_spawnp(
        &process, list[0], &actions, &attributes, list, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(list);
    return error ? -error : process;
}

int linux_wait(int process, int blocks) {
    int status = 0;
    pid_t result;
    do {
        result = waitpid(process, &status, blocks ? 0 : WNOHANG);
    } while (result < 0 && errno == EINTR && blocks);
    if (result < 0)
        return -errno;
    if (result == 0)
        return -EAGAIN;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
#endif
