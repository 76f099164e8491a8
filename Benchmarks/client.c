// The workloads that file systems are raced over. Compiled, so that the client is not what is
// measured; a workload's own programs (tar, find, git, rm) are what people run.
//
//   client list                                   every workload: name, operations, words
//   client prepare WORKLOAD DIRECTORY INPUTS      what must be there before it runs
//   client run WORKLOAD DIRECTORY INPUTS [LIMIT [PROCESS]]
//                                                 runs it; prints operations, nanoseconds, and
//                                                 the processor time that PROCESS used
//
// INPUTS is a folder with small.tar and repository.git. After LIMIT seconds a workload of single
// operations stops: what it prints is how many it did.

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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MANY = 20000, DIRECTORIES = 10000, FEW = 10000, HUGE_COUNT = 1000000, TRIES = 5000 };
enum { MIB = 1 << 20, LARGE_MIB = 1024, PIECE = 4096, RANDOM_PIECES = 25000, SYNCS = 1000 };

static int64_t deadline;
static const char *inputs = ".";

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void check(bool good, const char *what)
{
    if (!good) fail(what);
}

static bool is_late(long done) { return done % 64 == 63 && now() > deadline; }

// The same numbers in every run.
static uint64_t random_state = 88172645463325252ull;
static uint64_t random_number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static char *numbered(const char *prefix, long number)
{
    static char text[64];
    snprintf(text, sizeof text, "%s-%07ld", prefix, number);
    return text;
}

static void make_file(const char *name)
{
    int file = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    check(file >= 0, name);
    check(close(file) == 0, name);
}

// Everything that was done is on the disk: what is dirty is sent, then the file system's own.
static void sync_all(void)
{
    int root = open(".", O_RDONLY | O_DIRECTORY);
    check(root >= 0 && syncfs(root) == 0 && fsync(root) == 0, "sync");
    close(root);
}

static void run_program(char *const words[])
{
    fflush(NULL);
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        int nothing = open("/dev/null", O_WRONLY);
        dup2(nothing, 1);
        execvp(words[0], words);
        fail(words[0]);
    }
    int status;
    check(waitpid(child, &status, 0) == child, words[0]);
    if (status != 0) {
        fprintf(stderr, "client: %s failed\n", words[0]);
        exit(1);
    }
}
#define PROGRAM(...) run_program((char *const[]){ __VA_ARGS__, NULL })

static char *input(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", inputs, name);
    return path;
}

// MARK: Names

static void fill(const char *prefix, long count)
{
    for (long i = 0; i < count; i++) make_file(numbered(prefix, i));
}

static void prepare_many(void) { fill("file", MANY); }

static long create_many(void)
{
    long i = 0;
    for (; i < MANY && !is_late(i); i++) make_file(numbered("file", i));
    sync_all();
    return i;
}

// Visits each of `count` numbers once, in an order that is not theirs.
static long scattered(long i, long count) { return i * 7919 % count; }

static long stat_many(void)
{
    long i = 0;
    struct stat status;
    for (; i < MANY && !is_late(i); i++)
        check(stat(numbered("file", scattered(i, MANY)), &status) == 0, "stat");
    return i;
}

static long rename_many(void)
{
    long i = 0;
    for (; i < MANY && !is_late(i); i++) {
        char old[64];
        strcpy(old, numbered("file", scattered(i, MANY)));
        check(rename(old, numbered("renamed", i)) == 0, "rename");
    }
    sync_all();
    return i;
}

static long unlink_many(void)
{
    long i = 0;
    for (; i < MANY && !is_late(i); i++)
        check(unlink(numbered("file", scattered(i, MANY))) == 0, "unlink");
    sync_all();
    return i;
}

static void prepare_directories(void)
{
    for (long i = 0; i < DIRECTORIES; i++) check(mkdir(numbered("dir", i), 0755) == 0, "mkdir");
}

static long make_directories(void)
{
    long i = 0;
    for (; i < DIRECTORIES && !is_late(i); i++) check(mkdir(numbered("dir", i), 0755) == 0, "mkdir");
    sync_all();
    return i;
}

static long remove_directories(void)
{
    long i = 0;
    for (; i < DIRECTORIES && !is_late(i); i++) check(rmdir(numbered("dir", i)) == 0, "rmdir");
    sync_all();
    return i;
}

// MARK: One directory, small and huge

static void in_directory(const char *name)
{
    check(mkdir(name, 0755) == 0 || errno == EEXIST, "mkdir");
    check(chdir(name) == 0, "chdir");
}

static void prepare_few_in_one(void)
{
    in_directory("one");
    fill("file", FEW);
}

static void prepare_huge_in_one(void)
{
    in_directory("one");
    fill("file", HUGE_COUNT);
}

// Reads every block that names and inodes of the directory are in, by way of one name in 16, so
// that what is measured is the work and not the first reading. Those names are not used again.
static void warm_one(long count)
{
    in_directory("one");
    struct stat status;
    for (long i = 0; i < count / 16 && !is_late(i); i++)
        check(stat(numbered("file", i * 16), &status) == 0, "stat");
}
static void warm_few(void) { warm_one(FEW); }
static void warm_huge(void) { warm_one(HUGE_COUNT); }

// A number of a file that was not used to warm up; each number only once.
static long cool(long i, long count)
{
    long number = scattered(i, count / 16 * 15);
    return number / 15 * 16 + number % 15 + 1;
}

static long create_in_one(void)
{
    long i = 0;
    for (; i < TRIES && !is_late(i); i++) make_file(numbered("new", i));
    return i;
}

static long look_up_in_one(long count)
{
    long i = 0;
    struct stat status;
    for (; i < TRIES && !is_late(i); i++)
        check(stat(numbered("file", cool(i, count)), &status) == 0, "stat");
    return i;
}
static long look_up_in_few(void) { return look_up_in_one(FEW); }
static long look_up_in_huge(void) { return look_up_in_one(HUGE_COUNT); }

static long unlink_in_one(long count)
{
    long i = 0;
    for (; i < TRIES && !is_late(i); i++)
        check(unlink(numbered("file", cool(i, count))) == 0, "unlink");
    return i;
}
static long unlink_in_few(void) { return unlink_in_one(FEW); }
static long unlink_in_huge(void) { return unlink_in_one(HUGE_COUNT); }

// MARK: Trees

static long unpack(void)
{
    PROGRAM("tar", "-xf", input("small.tar"));
    sync_all();
    return MANY;
}

static void prepare_tree(void) { PROGRAM("tar", "-xf", input("small.tar")); }

static long remove_tree(void)
{
    PROGRAM("rm", "-rf", "small");
    sync_all();
    return MANY;
}

static void prepare_listing(void)
{
    for (int d = 0; d < 1000; d++) {
        in_directory(numbered("dir", d));
        fill("file", 99);
        check(chdir("..") == 0, "chdir");
    }
}

static long list_tree(void)
{
    PROGRAM("find", ".", "-ls");
    return 100000;
}

static long clone(void)
{
    PROGRAM("git", "clone", "-q", "--no-hardlinks", input("repository.git"), "clone");
    sync_all();
    return 1;
}

static void prepare_checkout(void)
{
    PROGRAM("git", "clone", "-q", "--no-hardlinks", input("repository.git"), "clone");
}

static long check_out(void)
{
    PROGRAM("git", "-C", "clone", "checkout", "-q", "HEAD~10");
    sync_all();
    return 1;
}

// MARK: Contents

static char *block(void)
{
    static char *bytes;
    if (!bytes) {
        bytes = aligned_alloc(4096, MIB);
        check(bytes != NULL, "memory");
        for (size_t i = 0; i < MIB / sizeof(uint64_t); i++)
            ((uint64_t *)bytes)[i] = random_number();
    }
    return bytes;
}

static long write_large_at(int flags)
{
    char *bytes = block();
    int file = open("large", flags | O_WRONLY, 0644);
    check(file >= 0, "large");
    for (int i = 0; i < LARGE_MIB; i++) {
        ((uint64_t *)bytes)[0] = i;
        check(write(file, bytes, MIB) == MIB, "write");
    }
    check(fsync(file) == 0 && close(file) == 0, "fsync");
    return LARGE_MIB;
}
static long write_large(void) { return write_large_at(O_CREAT | O_EXCL); }
static long overwrite_large(void) { return write_large_at(0); }
static void prepare_large(void) { write_large(); }

static long read_large(void)
{
    char *bytes = block();
    int file = open("large", O_RDONLY);
    check(file >= 0, "large");
    for (int i = 0; i < LARGE_MIB; i++) check(read(file, bytes, MIB) == MIB, "read");
    close(file);
    return LARGE_MIB;
}

static off_t random_place(void) { return random_number() % (LARGE_MIB * 256ul) * PIECE; }

static long write_randomly(void)
{
    char *bytes = block();
    int file = open("large", O_WRONLY);
    check(file >= 0, "large");
    long i = 0;
    for (; i < RANDOM_PIECES && !is_late(i); i++)
        check(pwrite(file, bytes, PIECE, random_place()) == PIECE, "write");
    check(fsync(file) == 0 && close(file) == 0, "fsync");
    return i;
}

static long read_randomly(void)
{
    char *bytes = block();
    int file = open("large", O_RDONLY);
    check(file >= 0 && posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM) == 0, "large");
    long i = 0;
    for (; i < RANDOM_PIECES && !is_late(i); i++)
        check(pread(file, bytes, PIECE, random_place()) == PIECE, "read");
    close(file);
    return i;
}

static long sync_often(void)
{
    char *bytes = block();
    int file = open("log", O_CREAT | O_EXCL | O_WRONLY | O_APPEND, 0644);
    check(file >= 0, "log");
    long i = 0;
    for (; i < SYNCS && !is_late(i); i++)
        check(write(file, bytes, PIECE) == PIECE && fsync(file) == 0, "fsync");
    close(file);
    return i;
}

// The processor time that a process has used, in nanoseconds; 0 when there is none.
static int64_t processor_time(const char *process)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%s/stat", process);
    FILE *file = process[0] ? fopen(path, "r") : NULL;
    if (!file) return 0;
    char *end = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    long user = 0, system = 0;
    if (end) sscanf(end + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld %ld", &user, &system);
    fclose(file);
    return (user + system) * (1000000000ll / sysconf(_SC_CLK_TCK));
}

// MARK: The list

static void prepare_nothing(void) {}

static const struct workload {
    const char *name;
    long operations;
    const char *image; // workloads with the same word begin with the same image
    void (*prepare)(void);
    long (*run)(void);
    const char *words;
    void (*warm)(void); // what comes before it, not measured
} workloads[] = {
    { "untar", MANY, "empty", prepare_nothing, unpack, "untar 20,000 files, sync", NULL },
    { "create", MANY, "empty", prepare_nothing, create_many, "create 20,000 files", NULL },
    { "stat", MANY, "many", prepare_many, stat_many, "stat 20,000 files", NULL },
    { "rename", MANY, "many", prepare_many, rename_many, "rename 20,000 files", NULL },
    { "unlink", MANY, "many", prepare_many, unlink_many, "unlink 20,000 files", NULL },
    { "mkdir", DIRECTORIES, "empty", prepare_nothing, make_directories, "mkdir 10,000", NULL },
    { "rmdir", DIRECTORIES, "directories", prepare_directories, remove_directories,
      "rmdir 10,000", NULL },
    { "find", 100000, "listing", prepare_listing, list_tree, "find -ls of 100,000 files", NULL },
    { "rm", MANY, "tree", prepare_tree, remove_tree, "rm -rf of 20,000 files", NULL },
    { "write", LARGE_MIB, "empty", prepare_nothing, write_large, "write 1 GiB, fsync", NULL },
    { "overwrite", LARGE_MIB, "large", prepare_large, overwrite_large, "overwrite 1 GiB, fsync", NULL },
    { "read", LARGE_MIB, "large", prepare_large, read_large, "read 1 GiB", NULL },
    { "random-write", RANDOM_PIECES, "large", prepare_large, write_randomly,
      "25,000 random writes of 4 KiB", NULL },
    { "random-read", RANDOM_PIECES, "large", prepare_large, read_randomly,
      "25,000 random reads of 4 KiB", NULL },
    { "fsync", SYNCS, "empty", prepare_nothing, sync_often, "1,000 appends of 4 KiB with fsync", NULL },
    { "clone", 1, "empty", prepare_nothing, clone, "git clone of 4,000 files", NULL },
    { "checkout", 1, "clone", prepare_checkout, check_out, "git checkout of an old revision", NULL },
    { "create-10k", TRIES, "few-in-one", prepare_few_in_one, create_in_one,
      "create among 10,000", warm_few },
    { "lookup-10k", TRIES, "few-in-one", prepare_few_in_one, look_up_in_few,
      "look up among 10,000", warm_few },
    { "unlink-10k", TRIES, "few-in-one", prepare_few_in_one, unlink_in_few,
      "unlink among 10,000", warm_few },
    { "create-1m", TRIES, "huge-in-one", prepare_huge_in_one, create_in_one,
      "create among 1,000,000", warm_huge },
    { "lookup-1m", TRIES, "huge-in-one", prepare_huge_in_one, look_up_in_huge,
      "look up among 1,000,000", warm_huge },
    { "unlink-1m", TRIES, "huge-in-one", prepare_huge_in_one, unlink_in_huge,
      "unlink among 1,000,000", warm_huge },
};

int main(int count, char **words)
{
    size_t total = sizeof workloads / sizeof *workloads;
    if (count == 2 && !strcmp(words[1], "list")) {
        for (size_t i = 0; i < total; i++)
            printf("%s\t%ld\t%s\t%s\n", workloads[i].name, workloads[i].operations,
                   workloads[i].image, workloads[i].words);
        return 0;
    }
    for (size_t i = 0; count >= 5 && i < total; i++) {
        if (strcmp(workloads[i].name, words[2])) continue;
        check(chdir(words[3]) == 0, words[3]);
        inputs = words[4];
        if (!strcmp(words[1], "prepare")) {
            workloads[i].prepare();
            return 0;
        }
        int64_t limit = 1000000000ll * (count > 5 ? atol(words[5]) : 3600);
        deadline = now() + limit;
        if (workloads[i].warm) workloads[i].warm();
        const char *process = count > 6 ? words[6] : "";
        int64_t used = processor_time(process), start = now();
        deadline = start + limit;
        long done = workloads[i].run();
        int64_t elapsed = now() - start;
        used = processor_time(process) - used;
        printf("%ld %lld %lld\n", done, (long long)elapsed, (long long)used);
        return 0;
    }
    fprintf(stderr, "usage: client list | client prepare|run WORKLOAD DIRECTORY INPUTS [LIMIT [PROCESS]]\n");
    return 2;
}
