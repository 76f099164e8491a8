// A FUSE file system that does next to nothing: names, attributes and contents in memory, no
// permission of its own, no disk. What it costs is what FUSE costs, so it is the floor under every
// FUSE file system. It asks the kernel for what `ext4 mount` asks for, and one request at a
// time is served, by whichever thread takes it.
//
//   emptyfs [--writeback] [--mknod] DIRECTORY      until DIRECTORY is unmounted
//
//   --writeback   the kernel collects writes and sends them later, in large pieces
//   --mknod       refuse CREATE, so that the kernel sends MKNOD and there is no RELEASE

#define _GNU_SOURCE
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

// For ever: nobody else changes anything.
#define FOREVER 1e15
enum { THREADS = 8 };

struct name;

struct node {
    struct stat status;
    uint32_t references;  // lookups that the kernel has not forgotten
    char *data;           // contents, or a symbolic link's target
    size_t room;          // of `data`
    // Of a directory: its names in the order of their cookies, and where the last listing stopped.
    struct name *first, *last, *next_listed;
    uint64_t next_cookie, listed_cookie;
    fuse_ino_t parent;
};

struct name {
    struct name *chain;          // in the hash table
    struct name *before, *after; // in the directory
    fuse_ino_t parent, node;
    uint64_t cookie;
    uint32_t hash;
    uint16_t length;
    char text[];
};

static struct node **nodes;
static size_t node_count = 2, node_room;
static fuse_ino_t *unused;
static size_t unused_count, unused_room;
static struct name **table;
static size_t table_size = 1 << 21;
static bool wants_writeback, refuses_create;

// MARK: Nodes and names

static void *grown(void *memory, size_t *room, size_t wanted, size_t size)
{
    if (wanted <= *room) return memory;
    size_t larger = *room ? *room : 64;
    while (larger < wanted) larger *= 2;
    memory = realloc(memory, larger * size);
    if (!memory) abort();
    memset((char *)memory + *room * size, 0, (larger - *room) * size);
    *room = larger;
    return memory;
}

static struct node *node_at(fuse_ino_t number) { return nodes[number]; }

static void touch(struct timespec *time) { clock_gettime(CLOCK_REALTIME_COARSE, time); }

static void changed(struct node *node)
{
    touch(&node->status.st_mtim);
    node->status.st_ctim = node->status.st_mtim;
}

static struct node *make_node(mode_t mode, const struct fuse_ctx *by, fuse_ino_t parent)
{
    fuse_ino_t number = unused_count ? unused[--unused_count] : node_count++;
    nodes = grown(nodes, &node_room, node_count + 1, sizeof *nodes);
    struct node *node = nodes[number] = calloc(1, sizeof *node);
    if (!node) abort();
    node->status.st_ino = number;
    node->status.st_mode = mode;
    node->status.st_nlink = S_ISDIR(mode) ? 2 : 1;
    node->status.st_uid = by ? by->uid : 0;
    node->status.st_gid = by ? by->gid : 0;
    node->status.st_blksize = 4096;
    node->parent = parent;
    node->next_cookie = 3;
    changed(node);
    node->status.st_atim = node->status.st_mtim;
    return node;
}

static void drop_if_unused(struct node *node)
{
    if (node->references || node->status.st_nlink > 0) return;
    fuse_ino_t number = node->status.st_ino;
    unused = grown(unused, &unused_room, unused_count + 1, sizeof *unused);
    unused[unused_count++] = number;
    nodes[number] = NULL;
    free(node->data);
    free(node);
}

static uint32_t hash_of(fuse_ino_t parent, const char *text, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325 ^ parent * 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3;
    return hash ^ hash >> 32;
}

static struct name **slot_of(fuse_ino_t parent, const char *text, size_t length)
{
    uint32_t hash = hash_of(parent, text, length);
    struct name **slot = &table[hash & (table_size - 1)];
    for (; *slot; slot = &(*slot)->chain) {
        struct name *name = *slot;
        if (name->hash == hash && name->parent == parent && name->length == length &&
            !memcmp(name->text, text, length))
            break;
    }
    return slot;
}

static struct name *find(fuse_ino_t parent, const char *text)
{
    return *slot_of(parent, text, strlen(text));
}

static void add_name(fuse_ino_t parent, const char *text, struct node *node)
{
    size_t length = strlen(text);
    struct name *name = malloc(sizeof *name + length);
    if (!name) abort();
    struct node *directory = node_at(parent);
    *name = (struct name){ .parent = parent, .node = node->status.st_ino, .length = length,
                           .hash = hash_of(parent, text, length),
                           .cookie = directory->next_cookie++, .before = directory->last };
    memcpy(name->text, text, length);
    struct name **bucket = &table[name->hash & (table_size - 1)];
    name->chain = *bucket;
    *bucket = name;
    if (directory->last) directory->last->after = name;
    else directory->first = name;
    directory->last = name;
    if (S_ISDIR(node->status.st_mode)) {
        directory->status.st_nlink++;
        node->parent = parent;
    }
    changed(directory);
}

// Takes the name away and gives the node that it stood for; the node stays.
static struct node *remove_name(struct name *name)
{
    struct node *directory = node_at(name->parent), *node = node_at(name->node);
    struct name **slot = slot_of(name->parent, name->text, name->length);
    *slot = name->chain;
    if (directory->next_listed == name) directory->next_listed = name->after;
    if (name->before) name->before->after = name->after;
    else directory->first = name->after;
    if (name->after) name->after->before = name->before;
    else directory->last = name->before;
    if (S_ISDIR(node->status.st_mode)) directory->status.st_nlink--;
    changed(directory);
    free(name);
    return node;
}

static void unlink_node(struct node *node)
{
    node->status.st_nlink = S_ISDIR(node->status.st_mode) ? 0 : node->status.st_nlink - 1;
    touch(&node->status.st_ctim);
    drop_if_unused(node);
}

// MARK: Replies

static struct fuse_entry_param entry_of(struct node *node)
{
    return (struct fuse_entry_param){ .ino = node->status.st_ino, .attr = node->status,
                                      .attr_timeout = FOREVER, .entry_timeout = FOREVER };
}

static void reply_entry(fuse_req_t request, struct node *node)
{
    struct fuse_entry_param entry = entry_of(node);
    node->references++;
    fuse_reply_entry(request, &entry);
}

static void reply_ok(fuse_req_t request) { fuse_reply_err(request, 0); }

static void begin(void *data, struct fuse_conn_info *connection)
{
    (void)data;
    unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_IOCTL_DIR |
                      FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_NO_OPEN_SUPPORT |
                      FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_PARALLEL_DIROPS |
                      FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA |
                      FUSE_CAP_HANDLE_KILLPRIV;
    if (wants_writeback) wanted |= FUSE_CAP_WRITEBACK_CACHE;
    connection->want = connection->capable & wanted;
    connection->max_background = 64;
    connection->congestion_threshold = 48;
    connection->time_gran = 1;
}

// MARK: Names

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *text)
{
    struct name *name = find(parent, text);
    if (name) return reply_entry(request, node_at(name->node));
    struct fuse_entry_param absent = { .entry_timeout = FOREVER };
    fuse_reply_entry(request, &absent);
}

static void forget(fuse_req_t request, fuse_ino_t number, uint64_t count)
{
    struct node *node = node_at(number);
    if (node) {
        node->references -= count;
        drop_if_unused(node);
    }
    fuse_reply_none(request);
}

static void forget_many(fuse_req_t request, size_t count, struct fuse_forget_data *forgotten)
{
    for (size_t i = 0; i < count; i++) {
        struct node *node = node_at(forgotten[i].ino);
        if (!node) continue;
        node->references -= forgotten[i].nlookup;
        drop_if_unused(node);
    }
    fuse_reply_none(request);
}

static void make(fuse_req_t request, fuse_ino_t parent, const char *text, mode_t mode, dev_t device)
{
    if (find(parent, text)) return (void)fuse_reply_err(request, EEXIST);
    struct node *node = make_node(mode, fuse_req_ctx(request), parent);
    node->status.st_rdev = device;
    add_name(parent, text, node);
    reply_entry(request, node);
}

static void make_directory(fuse_req_t request, fuse_ino_t parent, const char *text, mode_t mode)
{
    make(request, parent, text, mode | S_IFDIR, 0);
}

static void create(fuse_req_t request, fuse_ino_t parent, const char *text, mode_t mode,
                   struct fuse_file_info *file)
{
    if (refuses_create) return (void)fuse_reply_err(request, ENOSYS);
    if (find(parent, text)) return (void)fuse_reply_err(request, EEXIST);
    struct node *node = make_node(mode | S_IFREG, fuse_req_ctx(request), parent);
    add_name(parent, text, node);
    struct fuse_entry_param entry = entry_of(node);
    node->references++;
    fuse_reply_create(request, &entry, file);
}

static void make_symbolic_link(fuse_req_t request, const char *target, fuse_ino_t parent,
                               const char *text)
{
    if (find(parent, text)) return (void)fuse_reply_err(request, EEXIST);
    struct node *node = make_node(S_IFLNK | 0777, fuse_req_ctx(request), parent);
    node->data = strdup(target);
    node->status.st_size = strlen(target);
    add_name(parent, text, node);
    reply_entry(request, node);
}

static void make_link(fuse_req_t request, fuse_ino_t number, fuse_ino_t parent, const char *text)
{
    if (find(parent, text)) return (void)fuse_reply_err(request, EEXIST);
    struct node *node = node_at(number);
    node->status.st_nlink++;
    touch(&node->status.st_ctim);
    add_name(parent, text, node);
    reply_entry(request, node);
}

static void unlink_name(fuse_req_t request, fuse_ino_t parent, const char *text)
{
    struct name *name = find(parent, text);
    if (!name) return (void)fuse_reply_err(request, ENOENT);
    unlink_node(remove_name(name));
    reply_ok(request);
}

static void remove_directory(fuse_req_t request, fuse_ino_t parent, const char *text)
{
    struct name *name = find(parent, text);
    if (!name) return (void)fuse_reply_err(request, ENOENT);
    if (node_at(name->node)->first) return (void)fuse_reply_err(request, ENOTEMPTY);
    unlink_node(remove_name(name));
    reply_ok(request);
}

static void rename_name(fuse_req_t request, fuse_ino_t parent, const char *text,
                        fuse_ino_t new_parent, const char *new_text, unsigned flags)
{
    struct name *from = find(parent, text), *to = find(new_parent, new_text);
    if (flags & ~1u) return (void)fuse_reply_err(request, EINVAL);
    if (!from) return (void)fuse_reply_err(request, ENOENT);
    if (to && flags & 1) return (void)fuse_reply_err(request, EEXIST);
    if (to && node_at(to->node)->first) return (void)fuse_reply_err(request, ENOTEMPTY);
    if (from != to) {
        if (to) unlink_node(remove_name(to));
        struct node *node = remove_name(from);
        add_name(new_parent, new_text, node);
        touch(&node->status.st_ctim);
    }
    reply_ok(request);
}

static void read_link(fuse_req_t request, fuse_ino_t number)
{
    fuse_reply_readlink(request, node_at(number)->data);
}

static void list(fuse_req_t request, fuse_ino_t number, size_t size, off_t position, bool plus)
{
    static char *buffer;
    static size_t room;
    buffer = grown(buffer, &room, size, 1);
    struct node *directory = node_at(number);
    // Cookies 1 and 2 are `.` and `..`; a listing goes on behind the cookie that it is given.
    uint64_t cookie = position;
    struct name *name = directory->first;
    if (cookie > 2 && directory->listed_cookie == cookie) name = directory->next_listed;
    else
        while (name && name->cookie <= cookie) name = name->after;
    size_t used = 0;
    while (cookie < 2 || name) {
        char text[256] = "..";
        struct node *node = directory;
        if (cookie == 0) text[1] = 0;
        if (cookie == 1) node = node_at(directory->parent);
        if (cookie >= 2) {
            memcpy(text, name->text, name->length);
            text[name->length] = 0;
            node = node_at(name->node);
        }
        struct fuse_entry_param entry = entry_of(node);
        uint64_t next = cookie < 2 ? cookie + 1 : name->cookie;
        char *place = buffer + used;
        size_t rest = size - used;
        size_t length = plus ? fuse_add_direntry_plus(request, place, rest, text, &entry, next)
                             : fuse_add_direntry(request, place, rest, text, &entry.attr, next);
        if (length > rest) break;
        used += length;
        if (cookie >= 2) {
            if (plus) node->references++;
            name = name->after;
        }
        cookie = next;
    }
    directory->next_listed = name;
    directory->listed_cookie = cookie;
    fuse_reply_buf(request, buffer, used);
}

static void read_directory(fuse_req_t request, fuse_ino_t number, size_t size, off_t position,
                           struct fuse_file_info *file)
{
    (void)file;
    list(request, number, size, position, false);
}

static void read_directory_plus(fuse_req_t request, fuse_ino_t number, size_t size, off_t position,
                                struct fuse_file_info *file)
{
    (void)file;
    list(request, number, size, position, true);
}

// MARK: Attributes

static void get_attributes(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)file;
    fuse_reply_attr(request, &node_at(number)->status, FOREVER);
}

// Makes room for `size` bytes; what lies behind the end of the file is not zeroed.
static void make_room(struct node *node, size_t size)
{
    if (size <= node->room) return;
    size_t larger = node->room ? node->room : 64;
    while (larger < size) larger *= 2;
    node->data = realloc(node->data, larger);
    if (!node->data) abort();
    node->room = larger;
}

static void resize(struct node *node, size_t size)
{
    size_t old = node->status.st_size;
    make_room(node, size);
    if (size > old) memset(node->data + old, 0, size - old);
    node->status.st_size = size;
    node->status.st_blocks = (size + 511) / 512;
}

static void set_attributes(fuse_req_t request, fuse_ino_t number, struct stat *wanted, int which,
                           struct fuse_file_info *file)
{
    (void)file;
    struct node *node = node_at(number);
    struct stat *status = &node->status;
    touch(&status->st_ctim);
    if (which & FUSE_SET_ATTR_MODE)
        status->st_mode = (status->st_mode & S_IFMT) | (wanted->st_mode & ~S_IFMT);
    if (which & FUSE_SET_ATTR_UID) status->st_uid = wanted->st_uid;
    if (which & FUSE_SET_ATTR_GID) status->st_gid = wanted->st_gid;
    if (which & FUSE_SET_ATTR_SIZE) {
        resize(node, wanted->st_size);
        changed(node);
    }
    if (which & FUSE_SET_ATTR_ATIME) status->st_atim = wanted->st_atim;
    if (which & FUSE_SET_ATTR_MTIME) status->st_mtim = wanted->st_mtim;
    if (which & FUSE_SET_ATTR_ATIME_NOW) touch(&status->st_atim);
    if (which & FUSE_SET_ATTR_MTIME_NOW) touch(&status->st_mtim);
    if (which & FUSE_SET_ATTR_CTIME) status->st_ctim = wanted->st_ctim;
    fuse_reply_attr(request, status, FOREVER);
}

static void get_extended(fuse_req_t request, fuse_ino_t number, const char *name, size_t size)
{
    (void)number, (void)name, (void)size;
    fuse_reply_err(request, ENODATA);
}

static void list_extended(fuse_req_t request, fuse_ino_t number, size_t size)
{
    (void)number;
    if (size) fuse_reply_buf(request, NULL, 0);
    else fuse_reply_xattr(request, 0);
}

static void set_extended(fuse_req_t request, fuse_ino_t number, const char *name, const char *value,
                         size_t size, int flags)
{
    (void)number, (void)name, (void)value, (void)size, (void)flags;
    fuse_reply_err(request, EOPNOTSUPP);
}

static void statistics(fuse_req_t request, fuse_ino_t number)
{
    (void)number;
    struct statvfs answer = { .f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1 << 20,
                              .f_bfree = 1 << 19, .f_bavail = 1 << 19, .f_files = 1 << 21,
                              .f_ffree = 1 << 20, .f_namemax = 255 };
    fuse_reply_statfs(request, &answer);
}

// MARK: Contents

static void read_data(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset,
                      struct fuse_file_info *file)
{
    (void)file;
    struct node *node = node_at(number);
    size_t end = node->status.st_size, start = offset;
    if (start >= end) return (void)fuse_reply_buf(request, NULL, 0);
    fuse_reply_buf(request, node->data + start, size < end - start ? size : end - start);
}

static void write_data(fuse_req_t request, fuse_ino_t number, const char *bytes, size_t size,
                       off_t offset, struct fuse_file_info *file)
{
    (void)file;
    struct node *node = node_at(number);
    struct stat *status = &node->status;
    if (offset > status->st_size) resize(node, offset);
    make_room(node, offset + size);
    memcpy(node->data + offset, bytes, size);
    if (offset + (off_t)size > status->st_size) {
        status->st_size = offset + size;
        status->st_blocks = (status->st_size + 511) / 512;
    }
    changed(node);
    fuse_reply_write(request, size);
}

static void no_system_call(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)number, (void)file;
    fuse_reply_err(request, ENOSYS);
}

static void synchronise(fuse_req_t request, fuse_ino_t number, int data_only,
                        struct fuse_file_info *file)
{
    (void)number, (void)data_only, (void)file;
    reply_ok(request);
}

static void release(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *file)
{
    (void)number, (void)file;
    reply_ok(request);
}

static const struct fuse_lowlevel_ops operations = {
    .init = begin, .lookup = lookup, .forget = forget, .forget_multi = forget_many,
    .mknod = make, .mkdir = make_directory, .create = create, .symlink = make_symbolic_link,
    .link = make_link, .unlink = unlink_name, .rmdir = remove_directory, .rename = rename_name,
    .readlink = read_link, .readdir = read_directory, .readdirplus = read_directory_plus,
    .getattr = get_attributes, .setattr = set_attributes, .getxattr = get_extended,
    .listxattr = list_extended, .setxattr = set_extended, .statfs = statistics, .read = read_data,
    .write = write_data, .open = no_system_call, .opendir = no_system_call,
    .flush = no_system_call, .fsync = synchronise, .fsyncdir = synchronise, .release = release,
};

// MARK: The loop

static pthread_mutex_t work = PTHREAD_MUTEX_INITIALIZER;

static void *serve_some(void *argument)
{
    struct fuse_session *session = argument;
    struct fuse_buf buffer = { .mem = NULL };
    while (!fuse_session_exited(session)) {
        int size = fuse_session_receive_buf(session, &buffer);
        if (size == -EINTR) continue;
        if (size <= 0) break;
        pthread_mutex_lock(&work);
        fuse_session_process_buf(session, &buffer);
        pthread_mutex_unlock(&work);
    }
    fuse_session_exit(session);
    free(buffer.mem);
    return NULL;
}

// Several threads wait for requests, as those of `ext4 mount` do; one at a time works.
static void serve(struct fuse_session *session)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, serve_some, session)) exit(1);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

int main(int count, char **words)
{
    const char *directory = NULL;
    for (int i = 1; i < count; i++) {
        if (!strcmp(words[i], "--writeback")) wants_writeback = true;
        else if (!strcmp(words[i], "--mknod")) refuses_create = true;
        else if (words[i][0] == '-' || directory) return 2;
        else directory = words[i];
    }
    if (!directory) {
        fprintf(stderr, "usage: emptyfs [--writeback] [--mknod] DIRECTORY\n");
        return 2;
    }
    table = calloc(table_size, sizeof *table);
    nodes = grown(nodes, &node_room, 2, sizeof *nodes);
    node_count = FUSE_ROOT_ID;
    struct node *root = make_node(S_IFDIR | 0755, NULL, FUSE_ROOT_ID);
    root->references = 1;

    struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
    fuse_opt_add_arg(&arguments, "emptyfs");
    fuse_opt_add_arg(&arguments, "-o");
    fuse_opt_add_arg(&arguments, "default_permissions,allow_other,suid,dev,fsname=emptyfs");
    struct fuse_session *session =
        fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    if (!session || fuse_set_signal_handlers(session) || fuse_session_mount(session, directory))
        return 1;
    serve(session);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return 0;
}
