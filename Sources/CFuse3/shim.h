// libfuse3's low-level API, at the version whose session loop takes a configuration object, and
// the messages of the kernel's FUSE protocol that libfuse 3.14 does not know.
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
// STATX_…, and a descriptor that wakes a thread: glibc's module does not show them to Swift.
#include <linux/stat.h>
#include <sys/eventfd.h>

// The head of every request that the kernel sends.
struct ext4_fuse_request {
    uint32_t length;
    uint32_t opcode;
    uint64_t unique;
    uint64_t node;
    uint32_t uid;
    uint32_t gid;
    uint32_t pid;
    uint16_t extension_length;
    uint16_t padding;
};

// Requests that the session loop looks at before libfuse does.
enum ext4_fuse_opcode {
    EXT4_FUSE_READ = 15,
    EXT4_FUSE_WRITE = 16,
    EXT4_FUSE_INIT = 26,
    EXT4_FUSE_TMPFILE = 51,
    EXT4_FUSE_STATX = 52,
};

// Flags of the protocol that libfuse 3.14 does not know: the file system takes set-id bits and
// capabilities away itself, when a request says so. Without it the kernel asks for the attribute
// `security.capability` before every write.
enum ext4_fuse_flag {
    EXT4_FUSE_HANDLE_KILLPRIV_V2 = 1 << 28,
    EXT4_FUSE_WRITE_KILL_SUIDGID = 1 << 2,
};

struct ext4_fuse_time {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
};

// The answer to FUSE_STATX, from protocol 7.39 on: the head of a reply, then the attributes.
struct ext4_fuse_statx {
    uint32_t length;
    int32_t error;
    uint64_t unique;

    uint64_t valid_seconds;
    uint32_t valid_nanoseconds;
    uint32_t flags;
    uint64_t spare[2];

    uint32_t mask;
    uint32_t block_size;
    uint64_t attributes;
    uint32_t link_count;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;
    uint16_t spare0;
    uint64_t inode;
    uint64_t size;
    uint64_t blocks;
    uint64_t attributes_mask;
    struct ext4_fuse_time access_time;
    struct ext4_fuse_time creation_time;
    struct ext4_fuse_time change_time;
    struct ext4_fuse_time modification_time;
    uint32_t device_major;
    uint32_t device_minor;
    uint32_t volume_major;
    uint32_t volume_minor;
    uint64_t spare2[14];
};

// What FUSE_TMPFILE asks for, behind the head: the same as FUSE_CREATE.
struct ext4_fuse_create {
    uint32_t flags;
    uint32_t mode;
    uint32_t umask;
    uint32_t open_flags;
};

// The answer to FUSE_TMPFILE: the head of a reply, an entry with its attributes, an open file.
struct ext4_fuse_created {
    uint32_t length;
    int32_t error;
    uint64_t unique;

    uint64_t node;
    uint64_t generation;
    uint64_t entry_seconds;
    uint64_t valid_seconds;
    uint32_t entry_nanoseconds;
    uint32_t valid_nanoseconds;

    uint64_t inode;
    uint64_t size;
    uint64_t blocks;
    uint64_t access_seconds;
    uint64_t modification_seconds;
    uint64_t change_seconds;
    uint32_t access_nanoseconds;
    uint32_t modification_nanoseconds;
    uint32_t change_nanoseconds;
    uint32_t mode;
    uint32_t link_count;
    uint32_t uid;
    uint32_t gid;
    uint32_t device;
    uint32_t block_size;
    uint32_t attribute_flags;

    uint64_t file;
    uint32_t open_flags;
    int32_t backing;
};

// Flags of an open file in that answer.
enum ext4_fuse_open_flag {
    EXT4_FUSE_KEEP_CACHE = 1 << 1,
    EXT4_FUSE_NO_FLUSH = 1 << 5,
};

_Static_assert(sizeof(struct ext4_fuse_created) == 16 + 128 + 16, "struct fuse_entry_out");
_Static_assert(sizeof(struct ext4_fuse_request) == 40, "struct fuse_in_header");
_Static_assert(sizeof(struct ext4_fuse_statx) == 16 + 32 + 256, "struct fuse_statx_out");
