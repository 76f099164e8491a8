// Prints a tree, one line a name, in the order of the names' bytes, so that two lists of one tree
// are equal and `diff` tells where they are not.
//
//   manifest [--across] DIRECTORY
//
// A line has: path, type and mode, owner, group, links, size, blocks, device, inode number, times
// of change of contents and attributes, extended attributes, symbolic link's target, hash of the
// contents. --across leaves out what two file systems may do in their own ways: inode numbers,
// blocks, times, sizes of directories; hard links are told by the first path of the same inode.
// `lost+found` of the top is left out.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static bool across;
static int faults;

static void complain(const char *path, const char *what)
{
    printf("! %s: %s: %s\n", path, what, strerror(errno));
    faults++;
}

// Bytes that are not graphic, and `%`, as hexadecimal digits.
static void print_bytes(const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = bytes[i];
        if (byte > ' ' && byte < 127 && byte != '%') putchar(byte);
        else printf("%%%02x", byte);
    }
}

static uint64_t mixed(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15;
    return hash ^ hash >> 29;
}

// A hash of the contents that does not depend on where there are holes: blocks of zeros are left
// out, the others count with their places.
static void print_contents(const char *path, off_t size)
{
    enum { BLOCK = 4096, PIECE = 256 * BLOCK };
    static char bytes[PIECE];
    static const char zeros[BLOCK];
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
    if (file < 0) return complain(path, "open");
    uint64_t hash = size;
    off_t at = 0;
    while (at < size) {
        off_t data = lseek(file, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) break;
        if (data > at) at = data & ~(off_t)(BLOCK - 1);
        memset(bytes, 0, sizeof bytes);
        ssize_t count = pread(file, bytes, PIECE, at);
        if (count < 0) {
            complain(path, "read");
            break;
        }
        if (count == 0) {
            printf("! %s: ends at %lld\n", path, (long long)at);
            faults++;
            break;
        }
        for (ssize_t offset = 0; offset < count; offset += BLOCK) {
            if (!memcmp(bytes + offset, zeros, BLOCK)) continue;
            hash = mixed(hash, at + offset);
            for (int i = 0; i < BLOCK; i += 8) {
                uint64_t word;
                memcpy(&word, bytes + offset + i, 8);
                hash = mixed(hash, word);
            }
        }
        // The next piece begins at a block, unless a read was short.
        at += count == PIECE || at + count >= size ? count : count & ~(ssize_t)(BLOCK - 1);
        if (count < BLOCK && at < size) {
            printf("! %s: a short read at %lld\n", path, (long long)at);
            faults++;
            break;
        }
    }
    close(file);
    printf(" %016llx", (unsigned long long)hash);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_attributes(const char *path)
{
    static char list[65536], value[65536];
    ssize_t length = llistxattr(path, list, sizeof list);
    if (length < 0) {
        if (errno != EOPNOTSUPP) complain(path, "listxattr");
        return;
    }
    char *names[4096];
    size_t count = 0;
    for (char *name = list; name < list + length && count < 4096; name += strlen(name) + 1)
        names[count++] = name;
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        ssize_t size = lgetxattr(path, names[i], value, sizeof value);
        printf(" ");
        print_bytes(names[i], strlen(names[i]));
        printf("=");
        if (size < 0) complain(path, names[i]);
        else if (size <= 64) print_bytes(value, size);
        else {
            uint64_t hash = size;
            for (ssize_t at = 0; at < size; at++) hash = mixed(hash, (unsigned char)value[at]);
            printf("(%zd bytes: %016llx)", size, (unsigned long long)hash);
        }
    }
}

// The inodes with more than one name that were met, and the first path of each.
static struct met { ino_t number; char *path; } *met;
static size_t met_count, met_room;

static const char *first_path(ino_t number, const char *path)
{
    for (size_t i = 0; i < met_count; i++)
        if (met[i].number == number) return met[i].path;
    if (met_count == met_room) {
        met_room = met_room ? 2 * met_room : 64;
        met = realloc(met, met_room * sizeof *met);
        if (!met) abort();
    }
    met[met_count++] = (struct met){ number, strdup(path) };
    return path;
}

static void print_line(const char *path, const struct stat *status)
{
    print_bytes(path, strlen(path));
    printf(" %06o %u:%u links=%lu", status->st_mode, status->st_uid, status->st_gid,
           (unsigned long)status->st_nlink);
    bool is_directory = S_ISDIR(status->st_mode);
    if (!across || !is_directory) printf(" size=%lld", (long long)status->st_size);
    if (S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode))
        printf(" device=%u:%u", major(status->st_rdev), minor(status->st_rdev));
    if (across) {
        if (!is_directory && status->st_nlink > 1) {
            printf(" same=");
            const char *first = first_path(status->st_ino, path);
            print_bytes(first, strlen(first));
        }
    } else {
        printf(" blocks=%lld inode=%lu mtime=%lld.%09ld ctime=%lld.%09ld",
               (long long)status->st_blocks, (unsigned long)status->st_ino,
               (long long)status->st_mtim.tv_sec, status->st_mtim.tv_nsec,
               (long long)status->st_ctim.tv_sec, status->st_ctim.tv_nsec);
    }
    print_attributes(path);
    if (S_ISLNK(status->st_mode)) {
        char target[4097];
        ssize_t length = readlink(path, target, sizeof target);
        printf(" -> ");
        if (length < 0) complain(path, "readlink");
        else print_bytes(target, length);
    }
    if (S_ISREG(status->st_mode)) print_contents(path, status->st_size);
    printf("\n");
}

static void print_tree(const char *path, dev_t device)
{
    struct stat status;
    if (lstat(path, &status)) return complain(path, "stat");
    // Another file system is mounted there.
    if (status.st_dev != device) return;
    print_line(path, &status);
    if (!S_ISDIR(status.st_mode)) return;
    DIR *directory = opendir(path);
    if (!directory) return complain(path, "opendir");
    char **names = NULL;
    size_t count = 0, room = 0;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(directory))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (!strcmp(path, ".") && !strcmp(entry->d_name, "lost+found")) continue;
        if (count == room) {
            room = room ? 2 * room : 64;
            names = realloc(names, room * sizeof *names);
            if (!names) abort();
        }
        names[count++] = strdup(entry->d_name);
    }
    if (errno) complain(path, "readdir");
    closedir(directory);
    if (count) qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        char *child;
        if (i > 0 && !strcmp(names[i], names[i - 1])) {
            printf("! %s: %s is listed twice\n", path, names[i]);
            faults++;
        }
        if (asprintf(&child, "%s/%s", path, names[i]) < 0) abort();
        print_tree(child, device);
        free(child);
    }
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

int main(int count, char **words)
{
    if (count > 1 && !strcmp(words[1], "--across")) {
        across = true;
        count--;
        words++;
    }
    struct stat status;
    if (count != 2 || chdir(words[1]) || stat(".", &status)) {
        fprintf(stderr, "usage: manifest [--across] DIRECTORY\n");
        return 2;
    }
    print_tree(".", status.st_dev);
    return faults ? 1 : 0;
}
